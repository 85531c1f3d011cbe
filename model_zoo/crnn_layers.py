"""CRNN (Shi et al. 2016) as data: convolutions that leave one row of columns, LSTMs, a map to characters.

The network is the one of MaybeShewill-CV/CRNN_Tensorflow that AI Matrix runs (MODELS.md 13); `crnn_english`
is another one of the same layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from model_zoo.layers import (
    SAME,
    BatchNorm,
    Convolution,
    FeatureMap,
    Layer,
    Pool,
    Relu,
    Scaling,
    Shape,
)
from model_zoo.network import Network

INPUT_DEVIATION = 0.6
"""About that of x / 127.5 - 1 over images of words."""

DIRECTIONS = ("forward", "backward")
FORGET_BIAS = 1.0

_BATCH_NORM_EPSILON = 1e-3
_SECOND_DIVISOR = 255.0
"""The feeds are x / 127.5 - 1 already: the reference normalises twice (MODELS.md 13)."""


@dataclass(frozen=True)
class PoolRows(Layer):
    """The maxima of every two rows; columns stay."""

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], height=bottoms[0].height // 2)


@dataclass(frozen=True)
class JoinRows(Convolution):
    """A convolution that steps two rows down and one column across, padded by TensorFlow's SAME."""

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        (of,) = bottoms
        return replace(of, channels=self.channels, height=math.ceil(of.height / 2))


@dataclass(frozen=True)
class AverageRows(Layer):
    """The mean over all rows; columns stay."""

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], height=1)


@dataclass(frozen=True)
class Columns(Layer):
    """A map of one row as a sequence: [batch, columns, channels]."""


@dataclass(frozen=True)
class BidirectionalLstm(Layer):
    """LSTMs of `units` each that read the sequence from either end, and what they say side by side.

    Weights are those of TensorFlow's LSTMCell, `<layer>/forward/kernel` and `/bias`, and `backward`: rows
    are inputs, then units; columns are the gates input, cell, forget, output. `forget_bias` comes on top.
    """

    units: int
    forget_bias: float = FORGET_BIAS

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], channels=2 * self.units)

    def tensors(self, of: FeatureMap) -> Mapping[str, Shape]:
        gates = 4 * self.units
        shapes: dict[str, Shape] = {}
        for direction in DIRECTIONS:
            shapes[f"{self.name}/{direction}/kernel"] = (of.channels + self.units, gates)
            shapes[f"{self.name}/{direction}/bias"] = (gates,)
        return shapes

    def macs(self, of: FeatureMap) -> int:
        return len(DIRECTIONS) * of.pixels * (of.channels + self.units) * 4 * self.units


@dataclass(frozen=True)
class Projection(Layer):
    """A matrix, and perhaps a bias, for the channels of every column."""

    channels: int
    bias: bool = True

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], channels=self.channels)

    def tensors(self, of: FeatureMap) -> Mapping[str, Shape]:
        kernel = {f"{self.name}/kernel": (of.channels, self.channels)}
        return kernel | ({f"{self.name}/bias": (self.channels,)} if self.bias else {})

    def macs(self, of: FeatureMap) -> int:
        return of.values * self.channels


@dataclass(frozen=True)
class Sizes:
    """What a relative may change; `characters` counts the blank, `narrower` divides all widths."""

    name: str = "crnn"
    input_size: tuple[int, int] = (32, 100)
    narrower: int = 1
    characters: int = 37


def crnn_network(sizes: Sizes) -> Network:
    """Images [batch, height, width, 3] to `logits` [batch, columns, characters]."""
    narrow, middle, wide, widest = (channels // sizes.narrower for channels in (64, 128, 256, 512))
    layers: tuple[Layer, ...] = (
        Scaling("scale", ("images",), _SECOND_DIVISOR, 0.0),
        *_normalised(Convolution("conv1", ("scale",), narrow, 3, padding=SAME)),
        Pool("pool1", ("conv1/relu",), "MAX", 2, 2),
        *_normalised(Convolution("conv2", ("pool1",), middle, 3, padding=SAME)),
        Pool("pool2", ("conv2/relu",), "MAX", 2, 2),
        *_normalised(Convolution("conv3", ("pool2",), wide, 3, padding=SAME, bias=False)),
        *_normalised(Convolution("conv4", ("conv3/relu",), wide, 3, padding=SAME, bias=False)),
        PoolRows("pool4", ("conv4/relu",)),
        *_normalised(Convolution("conv5", ("pool4",), widest, 3, padding=SAME, bias=False)),
        *_normalised(Convolution("conv6", ("conv5/relu",), widest, 3, padding=SAME, bias=False)),
        PoolRows("pool6", ("conv6/relu",)),
        *_normalised(JoinRows("conv7", ("pool6",), widest, 2, bias=False)),
        Columns("columns", ("conv7/relu",)),
        BidirectionalLstm("lstm1", ("columns",), wide),
        BidirectionalLstm("lstm2", ("lstm1",), wide),
        Projection("logits", ("lstm2",), sizes.characters, bias=False),
    )
    return Network(sizes.name, sizes.name, "images", sizes.input_size, INPUT_DEVIATION, layers)


def _normalised(convolution: Convolution) -> Iterator[Layer]:
    """A convolution, its batch normalisation and its rectifier."""
    name = convolution.name
    yield convolution
    yield BatchNorm(f"{name}/bn", (name,), f"{name}/scale", _BATCH_NORM_EPSILON)
    yield Relu(f"{name}/relu", (f"{name}/bn",))
