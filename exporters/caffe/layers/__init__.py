"""The table of layer types: what each is called in a prototxt, and who says it in ONNX.

A new layer type is one file beside this one and one line here. A handler gets a builder and the values of the
layer's bottoms; it returns the values of its tops. It raises `build.error(...)` for what ONNX cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.layers import (
    activations,
    batch_norm,
    bias,
    concat,
    convolution,
    crop,
    deconvolution,
    dropout,
    eltwise,
    flatten,
    inner_product,
    lrn,
    normalize,
    permute,
    pooling,
    power,
    prelu,
    relu,
    reshape,
    scale,
    silence,
    slice_,
    softmax,
    split,
)

Handler = Callable[[LayerBuilder, Sequence[ir.Value]], Sequence[ir.Value]]

MANY = 1 << 16
"""As many bottoms as the prototxt likes."""


@dataclass(frozen=True)
class LayerType:
    """How a layer type is converted, and how many bottoms it takes at least and at most."""

    convert: Handler
    bottoms: tuple[int, int] = (1, 1)

    @property
    def bottoms_text(self) -> str:
        least, most = self.bottoms
        return f"{least}" if least == most else f"{least} or more" if most == MANY else f"{least} to {most}"


LAYERS = MappingProxyType(
    {
        "AbsVal": LayerType(activations.abs_val),
        "BNLL": LayerType(activations.bnll),
        "BatchNorm": LayerType(batch_norm.convert),
        "Bias": LayerType(bias.convert, bottoms=(1, 2)),
        "Concat": LayerType(concat.convert, bottoms=(1, MANY)),
        "Convolution": LayerType(convolution.convert),
        "Crop": LayerType(crop.convert, bottoms=(2, 2)),
        "Deconvolution": LayerType(deconvolution.convert),
        "Dropout": LayerType(dropout.convert),
        "ELU": LayerType(activations.elu),
        "Eltwise": LayerType(eltwise.convert, bottoms=(2, MANY)),
        "Flatten": LayerType(flatten.convert),
        "InnerProduct": LayerType(inner_product.convert),
        "LRN": LayerType(lrn.convert),
        "Normalize": LayerType(normalize.convert),
        "PReLU": LayerType(prelu.convert),
        "Permute": LayerType(permute.convert),
        "Pooling": LayerType(pooling.convert),
        "Power": LayerType(power.convert),
        "ReLU": LayerType(relu.convert),
        "Reshape": LayerType(reshape.convert),
        "Scale": LayerType(scale.convert, bottoms=(1, 2)),
        "Sigmoid": LayerType(activations.sigmoid),
        "Silence": LayerType(silence.convert, bottoms=(1, MANY)),
        "Slice": LayerType(slice_.convert),
        "Softmax": LayerType(softmax.convert),
        "Split": LayerType(split.convert),
        "TanH": LayerType(activations.tanh),
    }
)
"""Layer type, as a prototxt spells it, to its handler. (Input layers are the network's, see `network`.)"""

SUPPORTED = tuple(sorted((*LAYERS, "Input")))
"""Every layer type that a prototxt may hold."""
