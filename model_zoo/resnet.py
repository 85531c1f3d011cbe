"""ResNet v1 (He et al. 2015) as data: which convolutions, in which order, under Caffe's layer names.

One description serves ResNet-50, ResNet-101, a relative small enough for a fast test, and either
framework; it knows no framework. "v1" means that the stride of 2 sits on a stage's first 1x1 convolution
and on its projection shortcut, as in the authors' prototxts (v1.5 moves it to the 3x3).

Weights are one mapping of names to float32 arrays, shared by the frameworks: `conv1/kernel` (HWIO, for
RGB inputs of -1..1), `bn_conv1/gamma`, `/beta`, `/moving_mean`, `/moving_variance` (to be used with
BATCH_NORM_EPSILON), ..., `fc1000/kernel` (in x out), `fc1000/bias`; and `conv1/bias` where the Caffe
network has one.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from runtime.errors import UsageError

BATCH_NORM_EPSILON = 1e-4
"""The TensorFlow network's (nvcnn.py); Caffe's layer has 1e-5."""

CLASSIFIER = "fc1000"
EXPANSION = 4
_REDUCTION = 32  # strides multiply to this; a multiple of it leaves no window hanging over an edge


@dataclass(frozen=True)
class Convolution:
    """A convolution, padded by half its kernel on every side, and the batch normalisation behind it.

    `name` is Caffe's layer name; `input_size` and `output_size` are heights (= widths) in pixels.
    """

    name: str
    kernel: int
    stride: int
    input_channels: int
    output_channels: int
    input_size: int
    bias: bool = False

    @property
    def batch_norm(self) -> str:
        return f"bn{self._suffix}"

    @property
    def scale(self) -> str:
        return f"scale{self._suffix}"

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def output_size(self) -> int:
        return (self.input_size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def fan_in(self) -> int:
        return self.kernel**2 * self.input_channels

    @property
    def macs(self) -> int:
        return self.fan_in * self.output_channels * self.output_size**2

    @property
    def _suffix(self) -> str:
        return f"_{self.name}" if self.name == "conv1" else self.name.removeprefix("res")


@dataclass(frozen=True)
class Block:
    """relu(shortcut(x) + branch(x)); without a projection the shortcut is x itself.

    Every convolution of the branch but the last has a ReLU behind its normalisation.
    """

    name: str
    branch: tuple[Convolution, Convolution, Convolution]
    projection: Convolution | None

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        return (self.projection, *self.branch) if self.projection else self.branch


@dataclass(frozen=True)
class ResNet:
    """A ResNet's sizes.

    name:            as in the statistics' file name and in the prototxt.
    depths:          bottleneck blocks of the stages 2 to 5.
    numbered_stages: stages whose blocks Caffe calls 4a, 4b1, 4b2 and not 4a, 4b, 4c.
    stem_bias:       the Caffe network's conv1 has a bias, though a batch normalisation follows.
    width:           channels of conv1 and of stage 2's inner convolutions.
    input_size:      height and width of the images, a multiple of 32.
    """

    name: str
    depths: tuple[int, int, int, int]
    numbered_stages: frozenset[int] = frozenset()
    stem_bias: bool = False
    width: int = 64
    classes: int = 1000
    input_size: int = 224

    def __post_init__(self) -> None:
        if self.input_size <= 0 or self.input_size % _REDUCTION:
            raise UsageError(
                f"input size {self.input_size} of {self.name}: must be a multiple of {_REDUCTION}, or"
                " TensorFlow's and Caffe's pooling differ at the edge"
            )

    @cached_property
    def stem(self) -> Convolution:
        return Convolution("conv1", 7, 2, 3, self.width, self.input_size, self.stem_bias)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(self._blocks())

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """All of them in the order they run."""
        return (self.stem, *(part for block in self.blocks for part in block.convolutions))

    @property
    def features(self) -> int:
        """Length of the pooled vector the classifier sees."""
        return self.blocks[-1].branch[-1].output_channels

    @property
    def feature_size(self) -> int:
        """Height and width of the maps that are averaged into it."""
        return self.input_size // _REDUCTION

    def parameters(self, *, stem_bias: bool) -> int:
        """Learned parameters, without the batch-norm statistics (MODELS.md 4)."""
        convolutions = sum(part.output_channels * (part.fan_in + 2) for part in self.convolutions)
        return convolutions + self.width * stem_bias + (self.features + 1) * self.classes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(part.macs for part in self.convolutions) + self.features * self.classes

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights that every framework needs."""
        result: dict[str, tuple[int, ...]] = {}
        for part in self.convolutions:
            side, channels = part.kernel, part.output_channels
            result[f"{part.name}/kernel"] = (side, side, part.input_channels, channels)
            for statistic in ("gamma", "beta", "moving_mean", "moving_variance"):
                result[f"{part.batch_norm}/{statistic}"] = (channels,)
        result[f"{CLASSIFIER}/kernel"] = (self.features, self.classes)
        result[f"{CLASSIFIER}/bias"] = (self.classes,)
        return result

    def _blocks(self) -> Iterator[Block]:
        channels, size = self.width, self.input_size // 4  # conv1 and pool1 halve it
        for stage, depth in enumerate(self.depths, start=2):
            inner = self.width * 2 ** (stage - 2)
            for index in range(depth):
                stride = 2 if index == 0 and stage > 2 else 1
                name = f"res{stage}{self._block_suffix(stage, index)}"
                yield _bottleneck(name, channels, inner, size, stride, projected=index == 0)
                channels, size = EXPANSION * inner, math.ceil(size / stride)

    def _block_suffix(self, stage: int, index: int) -> str:
        if stage in self.numbered_stages:
            return f"b{index}" if index else "a"
        return string.ascii_lowercase[index]


def _bottleneck(name: str, channels: int, inner: int, size: int, stride: int, *, projected: bool) -> Block:
    outer, reduced = EXPANSION * inner, math.ceil(size / stride)
    branch = (
        Convolution(f"{name}_branch2a", 1, stride, channels, inner, size),
        Convolution(f"{name}_branch2b", 3, 1, inner, inner, reduced),
        Convolution(f"{name}_branch2c", 1, 1, inner, outer, reduced),
    )
    projection = Convolution(f"{name}_branch1", 1, stride, channels, outer, size) if projected else None
    return Block(name, branch, projection)


RESNET50 = ResNet("resnet50", (3, 4, 6, 3), stem_bias=True)
RESNET101 = ResNet("resnet101", (3, 4, 23, 3), numbered_stages=frozenset({3, 4}))
