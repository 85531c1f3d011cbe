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
    arg_max,
    axpy,
    batch_norm,
    batch_reindex,
    bias,
    bn,
    bounds,
    concat,
    convolution,
    crop,
    deconvolution,
    detection_output,
    dropout,
    eltwise,
    embed,
    exp_log,
    filter_,
    fixed,
    flatten,
    im2col,
    inner_product,
    lrn,
    mvn,
    normalize,
    permute,
    pooling,
    power,
    prelu,
    prior_box,
    proposal,
    psroi_pooling,
    recurrent,
    reduction,
    relu,
    reorg,
    reshape,
    resize,
    reverse,
    roi_pooling,
    scale,
    sequence,
    shuffle_channel,
    silence,
    slice_,
    softmax,
    split,
    spp,
    swish,
    tile,
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
        "ArgMax": LayerType(arg_max.convert),
        "Axpy": LayerType(axpy.convert, bottoms=(3, 3)),
        "BNLL": LayerType(activations.bnll),
        "BN": LayerType(bn.convert),
        "BatchNorm": LayerType(batch_norm.convert),
        "BatchReindex": LayerType(batch_reindex.convert, bottoms=(2, 2)),
        "Bias": LayerType(bias.convert, bottoms=(1, 2)),
        "Clip": LayerType(bounds.clip),
        "Concat": LayerType(concat.convert, bottoms=(1, MANY)),
        "ContinuationIndicator": LayerType(fixed.continuation_indicator, bottoms=(0, 0)),
        "Convolution": LayerType(convolution.convert),
        "ConvolutionDepthwise": LayerType(convolution.depthwise),
        "Crop": LayerType(crop.convert, bottoms=(2, 2)),
        "Deconvolution": LayerType(deconvolution.convert),
        "DepthwiseConvolution": LayerType(convolution.convert),
        "DetectionOutput": LayerType(detection_output.convert, bottoms=(3, 5)),
        "Dropout": LayerType(dropout.convert),
        "DummyData": LayerType(fixed.dummy_data, bottoms=(0, 0)),
        "ELU": LayerType(activations.elu),
        "Eltwise": LayerType(eltwise.convert, bottoms=(2, MANY)),
        "Embed": LayerType(embed.convert),
        "Exp": LayerType(exp_log.exp),
        "Filter": LayerType(filter_.convert, bottoms=(2, MANY)),
        "Flatten": LayerType(flatten.convert),
        "Flip": LayerType(reverse.flip),
        "Im2col": LayerType(im2col.convert),
        "InnerProduct": LayerType(inner_product.convert),
        "Interp": LayerType(resize.interp, bottoms=(1, 2)),
        "LSTM": LayerType(recurrent.lstm, bottoms=(2, 5)),
        "LRN": LayerType(lrn.convert),
        "Log": LayerType(exp_log.log),
        "Lstm": LayerType(sequence.convert),
        "MVN": LayerType(mvn.convert),
        "Mish": LayerType(swish.mish),
        "Normalize": LayerType(normalize.convert),
        "PReLU": LayerType(prelu.convert),
        "PSROIPooling": LayerType(psroi_pooling.convert, bottoms=(2, 2)),
        "Parameter": LayerType(fixed.parameter_blob, bottoms=(0, 0)),
        "Permute": LayerType(permute.convert),
        "Pooling": LayerType(pooling.convert),
        "Power": LayerType(power.convert),
        "PriorBox": LayerType(prior_box.convert, bottoms=(1, 2)),
        "Proposal": LayerType(proposal.convert, bottoms=(3, 3)),
        "RNN": LayerType(recurrent.rnn, bottoms=(2, 4)),
        "ROIPooling": LayerType(roi_pooling.convert, bottoms=(2, 2)),
        "ReLU": LayerType(relu.convert),
        "ReLU6": LayerType(bounds.relu6),
        "Reduction": LayerType(reduction.convert),
        "Reorg": LayerType(reorg.convert),
        "Reshape": LayerType(reshape.convert),
        "Reverse": LayerType(reverse.reverse),
        "SPP": LayerType(spp.convert),
        "Scale": LayerType(scale.convert, bottoms=(1, 2)),
        "ShuffleChannel": LayerType(shuffle_channel.convert),
        "Sigmoid": LayerType(activations.sigmoid),
        "Silence": LayerType(silence.convert, bottoms=(1, MANY)),
        "Slice": LayerType(slice_.convert),
        "Softmax": LayerType(softmax.convert),
        "Split": LayerType(split.convert),
        "Swish": LayerType(swish.swish),
        "TanH": LayerType(activations.tanh),
        "Threshold": LayerType(bounds.threshold),
        "Tile": LayerType(tile.convert),
        "Transpose": LayerType(permute.transpose),
        "Upsample": LayerType(resize.upsample, bottoms=(1, 2)),
    }
)
"""Layer type, as a prototxt spells it, to its handler. (Input layers are the network's, see `network`.)"""

PYTHON_LAYERS = MappingProxyType(
    {
        "rpn.proposal_layer.ProposalLayer": LayerType(proposal.python_layer, bottoms=(3, 3)),
        "spatial_dropout.SpatialDropoutLayer": LayerType(dropout.spatial),
    }
)
"""Python layers of published networks: module and class to handler."""

PYTHON_PROPOSALS = frozenset({"rpn.proposal_layer.ProposalLayer"})
"""Those of them that are post-processing."""

SUPPORTED = tuple(sorted((*LAYERS, "Input")))
"""Every layer type that a prototxt may hold."""
