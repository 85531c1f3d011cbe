"""DenseNet-121 (Huang et al. 2016, "Densely connected convolutional networks") as data.

Three networks bear the name (MODELS.md 5): the authors', as shicai's Caffe prototxt has it; the same with
Caffe's own rounding, as AI Matrix ships it; and a smaller one that AI Matrix runs in TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_zoo.layers import (
    BatchNorm,
    Concat,
    Convolution,
    GlobalAverage,
    InnerProduct,
    Layer,
    Pool,
    Relu,
    Scaling,
    Softmax,
)
from model_zoo.network import (
    PIXEL_DEVIATION,
    Network,
    in_rgb,
)


@dataclass(frozen=True)
class Sizes:
    """All that may differ between DenseNet-121 and a relative of it.

    depths:     dense layers of each block.
    growth:     channels that a dense layer adds.
    bottleneck: width of its 1x1 convolution, in multiples of `growth`.
    stem:       channels of conv1.
    """

    name: str = "densenet121"
    depths: tuple[int, ...] = (6, 12, 24, 16)
    growth: int = 32
    bottleneck: int = 4
    stem: int = 64
    classes: int = 1000
    input_size: int = 224


AIMATRIX = Sizes("densenet121-aimatrix", depths=(6, 12, 24), bottleneck=1)
"""AI Matrix' TensorFlow network: no fourth block, and narrow 1x1 convolutions."""

INPUT_SCALE = 0.017
"""What Caffe's network wants its centred pixels multiplied by; its deviation is then about 1."""

_AIMATRIX_EPSILON = 1e-4


def standard_network(sizes: Sizes) -> Network:
    """The authors' network in Caffe: `data` BGR minus a mean, times INPUT_SCALE, to the logits `fc6`."""
    return _caffe_network(sizes.name, sizes, tuple(_caffe_layers(sizes, ceil=False)))


def shipped_network(sizes: Sizes) -> Network:
    """As AI Matrix ships it: pool1 rounds up, to 57x57 pixels in place of 56x56, and `prob` is the output.

    The weights are those of the standard network.
    """
    layers = (*_caffe_layers(sizes, ceil=True), Softmax("prob", ("fc6",)))
    return _caffe_network(f"{sizes.name}-as-shipped", sizes, layers)


def tensorflow_network(sizes: Sizes) -> Network:
    """The authors' network in TensorFlow: `images` RGB minus a mean, times INPUT_SCALE, to `logits`.

    The weights are those of the standard network, but for the order of colours.
    """
    *layers, last = _caffe_layers(sizes, ceil=False)
    classifier = InnerProduct(last.name, last.bottoms, sizes.classes)
    return in_rgb(_caffe_network(sizes.name, sizes, (*layers, classifier)))


def aimatrix_network(sizes: Sizes) -> Network:
    """AI Matrix' TensorFlow network: `images` RGB 0..255, to `logits`."""
    return Network(
        sizes.name,
        sizes.name,
        "images",
        (sizes.input_size, sizes.input_size),
        PIXEL_DEVIATION,
        tuple(_aimatrix_layers(sizes)),
        "classifier",
    )


def _caffe_network(name: str, sizes: Sizes, layers: tuple[Layer, ...]) -> Network:
    deviation, size = PIXEL_DEVIATION * INPUT_SCALE, (sizes.input_size, sizes.input_size)
    return Network(name, sizes.name, "data", size, deviation, layers, "fc6")


def _caffe_layers(sizes: Sizes, *, ceil: bool) -> Iterator[Layer]:
    channels = sizes.stem
    yield Convolution("conv1", ("data",), channels, 7, 2, 3, bias=False)
    yield from _normalised("conv1", "conv1", "relu1")
    yield Pool("pool1", ("relu1",), "MAX", 3, 2, 1, ceil)
    bottom = "pool1"
    for stage, depth in enumerate(sizes.depths, start=2):
        for index in range(1, depth + 1):
            yield from _dense_layer(sizes, f"{stage}_{index}", bottom)
            bottom = f"concat_{stage}_{index}"
        channels += depth * sizes.growth
        yield from _normalised(f"conv{stage}_blk", bottom, f"relu{stage}_blk")
        bottom = f"relu{stage}_blk"
        if stage <= len(sizes.depths):
            channels //= 2
            yield Convolution(f"conv{stage}_blk", (bottom,), channels, 1, bias=False)
            bottom = f"pool{stage}"
            yield Pool(bottom, (f"conv{stage}_blk",), "AVE", 2, 2)
    last = f"pool{len(sizes.depths) + 1}"
    yield GlobalAverage(last, (bottom,))
    yield Convolution("fc6", (last,), sizes.classes, 1)


def _dense_layer(sizes: Sizes, name: str, bottom: str) -> Iterator[Layer]:
    narrow, wide = f"conv{name}/x1", f"conv{name}/x2"
    yield from _normalised(narrow, bottom, f"relu{name}/x1")
    yield Convolution(narrow, (f"relu{name}/x1",), sizes.bottleneck * sizes.growth, 1, bias=False)
    yield from _normalised(wide, narrow, f"relu{name}/x2")
    yield Convolution(wide, (f"relu{name}/x2",), sizes.growth, 3, padding=1, bias=False)
    yield Concat(f"concat_{name}", (bottom, wide))


def _normalised(name: str, bottom: str, relu: str, epsilon: float = 1e-5) -> Iterator[Layer]:
    yield BatchNorm(f"{name}/bn", (bottom,), f"{name}/scale", epsilon)
    yield Relu(relu, (f"{name}/bn",))


def _aimatrix_layers(sizes: Sizes) -> Iterator[Layer]:
    """Every convolution has a normalisation behind it, also where the next layer begins with one."""
    yield Scaling("scaled", ("images",), 127.5, -1.0)
    yield from _aimatrix_convolution("conv1", "scaled", sizes.stem, 7, 2)
    yield Pool("pool1", ("conv1/relu",), "AVE", 2, 2, ceil=False)
    bottom, width = "pool1", 0
    for stage, depth in enumerate(sizes.depths, start=2):
        for index in range(1, depth + 1):
            yield from _aimatrix_dense_layer(sizes, f"{stage}_{index}", bottom)
            bottom = f"concat_{stage}_{index}"
        width += depth * sizes.growth
        yield from _aimatrix_normalised(f"conv{stage}_blk/pre", bottom)
        yield from _aimatrix_convolution(f"conv{stage}_blk", f"conv{stage}_blk/pre/relu", width, 1)
        bottom = f"pool{stage}"
        yield Pool(bottom, (f"conv{stage}_blk/relu",), "AVE", 2, 2, ceil=False)
    yield from _aimatrix_normalised("tail", bottom)
    yield GlobalAverage("features", ("tail/relu",))
    yield InnerProduct("classifier", ("features",), sizes.classes)


def _aimatrix_dense_layer(sizes: Sizes, name: str, bottom: str) -> Iterator[Layer]:
    narrow, wide = f"conv{name}/x1", f"conv{name}/x2"
    yield from _aimatrix_normalised(f"{narrow}/pre", bottom)
    yield from _aimatrix_convolution(narrow, f"{narrow}/pre/relu", sizes.bottleneck * sizes.growth, 1)
    yield from _aimatrix_normalised(f"{wide}/pre", f"{narrow}/relu")
    yield from _aimatrix_convolution(wide, f"{wide}/pre/relu", sizes.growth, 3)
    yield Concat(f"concat_{name}", (bottom, f"{wide}/relu"))


def _aimatrix_convolution(
    name: str, bottom: str, channels: int, kernel: int, stride: int = 1
) -> Iterator[Layer]:
    padding = 0 if stride > 1 else kernel // 2  # the first is VALID, the others SAME
    yield Convolution(name, (bottom,), channels, kernel, stride, padding, bias=False)
    yield from _aimatrix_normalised(name, name)


def _aimatrix_normalised(name: str, bottom: str) -> Iterator[Layer]:
    return _normalised(name, bottom, f"{name}/relu", _AIMATRIX_EPSILON)
