"""Residual blocks and bodies (He et al. 2015) of detectors, under the names of Caffe's library.

These differ from the classifiers of `resnet`: every normalisation has an epsilon of 1e-3, the last stage of
the deeper two keeps its size and spreads its taps instead, and ResNet-18 exists (MODELS.md 6.4, 6.5, 8).
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass

from model_zoo.layers import (
    BatchNorm,
    Convolution,
    Eltwise,
    Layer,
    Pool,
    Relu,
)

EPSILON = 1e-3
_EXPANSION = 4


@dataclass(frozen=True)
class Body:
    """A ResNet's sizes.

    depths:    blocks of the stages 2 to 5.
    numbered:  stages whose blocks are called 4a, 4b1, 4b2 and not 4a, 4b, 4c.
    basic:     blocks are two 3x3 convolutions and not a bottleneck of three.
    stem_bias: conv1 has a bias, though a normalisation follows.
    width:     channels of conv1.
    bias:      every convolution has a bias, as Keras' have unless told otherwise.
    dilated:   the last stage keeps its size and spreads its taps.
    """

    depths: tuple[int, int, int, int]
    numbered: frozenset[int] = frozenset()
    basic: bool = False
    stem_bias: bool = False
    width: int = 64
    bias: bool = False
    dilated: bool = True

    def blocks(self, stage: int) -> tuple[str, ...]:
        """Names of a stage's blocks, without "res"."""
        names = (
            f"b{index}" if stage in self.numbered and index else string.ascii_lowercase[index]
            for index in range(self.depths[stage - 2])
        )
        return tuple(f"{stage}{name}" for name in names)

    def last(self, stage: int) -> str:
        """The layer that gives a stage's features."""
        return f"res{self.blocks(stage)[-1]}_relu"

    def inner(self, stage: int) -> int:
        return int(self.width * 2 ** (stage - 2))


RESNET18 = Body((2, 2, 2, 2), basic=True)
RESNET50 = Body((3, 4, 6, 3), stem_bias=True)
RESNET101 = Body((3, 4, 23, 3), numbered=frozenset({3, 4}))


def body(sizes: Body, bottom: str) -> Iterator[Layer]:
    """`conv1` to the last block of stage 5 (`sizes.last(5)`)."""
    yield Convolution("conv1", (bottom,), sizes.width, 7, 2, 3, sizes.stem_bias or sizes.bias)
    yield BatchNorm("bn_conv1", ("conv1",), "scale_conv1", EPSILON)
    yield Relu("conv1_relu", ("bn_conv1",))
    yield Pool("pool1", ("conv1_relu",), "MAX", 3, 2)
    bottom = "pool1"
    for stage in (2, 3, 4, 5):
        for index, name in enumerate(sizes.blocks(stage)):
            yield from _block(sizes, stage, name, bottom, first=index == 0)
            bottom = f"res{name}_relu"


@dataclass(frozen=True)
class Part:
    """One convolution of a block's branch."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    bias: bool = False


def bottleneck(  # noqa: PLR0913 - a block is no less
    name: str,
    bottom: str,
    inner: int,
    first: tuple[int, int] = (1, 1),
    dilation: int = 1,
    *,
    projected: bool,
    bias: bool = False,
) -> Iterator[Layer]:
    """relu(shortcut(x) + 1x1(3x3(first(x)))), of 4 * `inner` channels; the last layer is `res<name>_relu`.

    first: kernel and stride of the first convolution, and of the shortcut where it is one.
    """
    channels = _EXPANSION * inner
    branch = (
        Part(inner, *first, bias=bias),
        Part(inner, 3, 1, dilation, dilation, bias),
        Part(channels, 1, bias=bias),
    )
    return _residual(name, bottom, Part(channels, *first, bias=bias) if projected else None, branch)


def basic(
    name: str, bottom: str, channels: int, stride: int = 1, *, projected: bool, bias: bool = False
) -> Iterator[Layer]:
    """relu(shortcut(x) + 3x3(3x3(x))); the last layer is `res<name>_relu`."""
    branch = (Part(channels, 3, stride, 1, bias=bias), Part(channels, 3, 1, 1, bias=bias))
    return _residual(name, bottom, Part(channels, 1, stride, bias=bias) if projected else None, branch)


def normalised(convolution: Convolution, *, relu: bool) -> Iterator[Layer]:
    """A convolution of the decoder and of extra layers, `<name>_bn` behind it and maybe `<name>_relu`."""
    name = convolution.name
    yield convolution
    yield BatchNorm(f"{name}_bn", (name,), f"{name}_scale", EPSILON)
    if relu:
        yield Relu(f"{name}_relu", (f"{name}_bn",))


def _block(sizes: Body, stage: int, name: str, bottom: str, *, first: bool) -> Iterator[Layer]:
    halves, dilated = first and stage > 2, sizes.dilated and stage == 5
    inner, bias = sizes.inner(stage), sizes.bias
    if sizes.basic:
        return basic(name, bottom, inner, 2 if halves else 1, projected=first, bias=bias)
    stride, dilation = (1, 2) if dilated else (2 if halves else 1, 1)
    return bottleneck(name, bottom, inner, (1, stride), dilation, projected=first, bias=bias)


def _residual(name: str, bottom: str, projection: Part | None, branch: tuple[Part, ...]) -> Iterator[Layer]:
    shortcut = bottom
    if projection:
        yield from _normalised(f"{name}_branch1", bottom, projection)
        shortcut = f"bn{name}_branch1"
    read = bottom
    for index, part in enumerate(branch):
        here = f"{name}_branch2{string.ascii_lowercase[index]}"
        yield from _normalised(here, read, part)
        read = f"bn{here}"
        if index < len(branch) - 1:
            read = f"res{here}_relu"
            yield Relu(read, (f"bn{here}",))
    yield Eltwise(f"res{name}", (shortcut, read))
    yield Relu(f"res{name}_relu", (f"res{name}",))


def _normalised(name: str, bottom: str, part: Part) -> Iterator[Layer]:
    """A convolution and its normalisation, named as in the library's blocks: the kind comes first."""
    yield Convolution(
        f"res{name}",
        (bottom,),
        part.channels,
        part.kernel,
        part.stride,
        part.padding,
        bias=part.bias,
        dilation=part.dilation,
    )
    yield BatchNorm(f"bn{name}", (f"res{name}",), f"scale{name}", EPSILON)
