"""A network of images as data: layers in the order they run, under Caffe's names.

One such description gives a network's shapes and counts, its prototxt (`layers_caffe`), its TensorFlow
function (`layers_tensorflow`) and its seeded weights (`layers_seeded`); it knows no framework. A new network
is a tuple of layers; a new kind of layer is a class here and a line in the table of each framework.

Weights are one mapping of names to float32 arrays: `<layer>/kernel` (HWIO, or inputs x outputs) and
`<layer>/bias`, for a batch normalisation `/gamma`, `/beta`, `/moving_mean` and `/moving_variance`, and
`/gamma` for a normalisation over channels. The inputs of a fully connected layer that sees more than one
pixel are in Caffe's order, channels first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

SAME: Final = "SAME"
Padding = int | Literal["SAME"]
"""Pixels on every side, or TensorFlow's rule: ceil(size / stride) outputs, an odd pixel at the far end."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class FeatureMap:
    """What a layer gives for an image: `regions` times so many channels of height x width pixels.

    regions: at most; how many there are depends on the image where it is more than 1.
    """

    channels: int
    height: int
    width: int
    regions: int = 1

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def values(self) -> int:
        """Of one region."""
        return self.channels * self.pixels


@dataclass(frozen=True)
class Layer:
    """A layer that reads the outputs of the layers `bottoms` (or the network's input).

    `of` is always the first bottom's feature map.
    """

    name: str
    bottoms: tuple[str, ...]

    post_processing: ClassVar[bool] = False
    """Whether it makes detections of scores and offsets, which some accelerators have no kernels for."""

    @property
    def owner(self) -> str:
        """The layer whose tensors it uses: itself, unless it shares another's."""
        return self.name

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return bottoms[0]

    def tensors(self, of: FeatureMap) -> Mapping[str, Shape]:
        """Learned tensors and statistics, by the weights' names."""
        return {}

    def macs(self, of: FeatureMap) -> int:
        return 0


@dataclass(frozen=True)
class Scaling(Layer):
    """x / divisor + offset; preprocessing that the network does itself."""

    divisor: float
    offset: float


@dataclass(frozen=True)
class Convolution(Layer):
    """A convolution of square kernels, whose taps are `dilation` pixels apart.

    shared: the convolution before it whose kernel and bias it uses, where those are not its own.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: Padding = 0
    bias: bool = True
    dilation: int = 1
    shared: str = ""

    @property
    def owner(self) -> str:
        return self.shared or self.name

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        reach = self.dilation * (self.kernel - 1) + 1
        (of,) = bottoms
        height, width = (
            _windows(size, reach, self.stride, self.padding, ceil=False) for size in (of.height, of.width)
        )
        return replace(of, channels=self.channels, height=height, width=width)

    def tensors(self, of: FeatureMap) -> Mapping[str, Shape]:
        return {} if self.shared else _kernel_and_bias(self, of)

    def macs(self, of: FeatureMap) -> int:
        output = self.output(of)
        return self.kernel**2 * of.channels * output.values * output.regions


@dataclass(frozen=True)
class Deconvolution(Layer):
    """A transposed convolution of square kernels, with a bias."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        (of,) = bottoms
        height, width = (
            self.stride * (size - 1) + self.kernel - 2 * self.padding for size in (of.height, of.width)
        )
        return replace(of, channels=self.channels, height=height, width=width)

    def tensors(self, of: FeatureMap) -> Mapping[str, Shape]:
        return _kernel_and_bias(self, of)

    def macs(self, of: FeatureMap) -> int:
        return self.kernel**2 * of.values * self.channels * of.regions


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation by stored statistics, with gamma and beta.

    scale: name of the Caffe layer that holds the last two.
    """

    scale: str
    epsilon: float = 1e-5

    def tensors(self, of: FeatureMap) -> Mapping[str, Shape]:
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        return {f"{self.name}/{part}": (of.channels,) for part in parts}


@dataclass(frozen=True)
class Relu(Layer):
    """Rectifier; in Caffe it overwrites its bottom."""


@dataclass(frozen=True)
class Pool(Layer):
    """Pooling over square windows; `ceil` keeps those that hang over the far edge, as Caffe does.

    The divisor of an average is the window's part inside the image: Caffe's too where `padding` is 0.
    """

    kind: Literal["MAX", "AVE"]
    kernel: int
    stride: int
    padding: Padding = 0
    ceil: bool = True

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        (of,) = bottoms
        height, width = (
            _windows(size, self.kernel, self.stride, self.padding, ceil=self.ceil)
            for size in (of.height, of.width)
        )
        return replace(of, height=height, width=width)


@dataclass(frozen=True)
class GlobalAverage(Layer):
    """The mean over all pixels."""

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], height=1, width=1)


@dataclass(frozen=True)
class LocalResponse(Layer):
    """LRN across channels: x / (1 + alpha / width * sum of squares over `width` channels) ** beta."""

    width: int = 5
    alpha: float = 1e-4
    beta: float = 0.75


@dataclass(frozen=True)
class Concat(Layer):
    """The bottoms' channels, one after the other."""

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], channels=sum(bottom.channels for bottom in bottoms))


@dataclass(frozen=True)
class Eltwise(Layer):
    """The bottoms' sum or product, value by value."""

    operation: Literal["SUM", "PROD"] = "SUM"


@dataclass(frozen=True)
class Normalize(Layer):
    """x / sqrt(sum of squares over the channels + 1e-10), times a learned gamma for each channel (SSD).

    clamped: TensorFlow's way: the sum, or 1e-12 where it is less.
    """

    clamped: bool = False

    def tensors(self, of: FeatureMap) -> Mapping[str, Shape]:
        return {f"{self.name}/gamma": (of.channels,)}


@dataclass(frozen=True)
class Dropout(Layer):
    """Nothing at inference; Caffe's prototxts carry it."""

    ratio: float


@dataclass(frozen=True)
class InnerProduct(Layer):
    """A fully connected layer over all values of a map, with a bias."""

    channels: int
    bias: bool = True

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], channels=self.channels, height=1, width=1)

    def tensors(self, of: FeatureMap) -> Mapping[str, Shape]:
        return {
            f"{self.name}/kernel": (of.values, self.channels),
            f"{self.name}/bias": (self.channels,),
        }

    def macs(self, of: FeatureMap) -> int:
        return of.values * self.channels * of.regions


@dataclass(frozen=True)
class Resize(Layer):
    """Bilinear interpolation; output pixel i is read at i * size / output size (MODELS.md 2.2)."""

    height: int
    width: int

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], height=self.height, width=self.width)


@dataclass(frozen=True)
class Upsample(Layer):
    """Each pixel `factor` times down and across."""

    factor: int = 2

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        (of,) = bottoms
        return replace(of, height=self.factor * of.height, width=self.factor * of.width)


@dataclass(frozen=True)
class Softmax(Layer):
    """Softmax over the channels."""


Weighted = Convolution | Deconvolution | InnerProduct
"""Layers with a kernel, and perhaps a bias."""


def _kernel_and_bias(layer: Convolution | Deconvolution, of: FeatureMap) -> Mapping[str, Shape]:
    kernel = {f"{layer.name}/kernel": (layer.kernel, layer.kernel, of.channels, layer.channels)}
    return kernel | ({f"{layer.name}/bias": (layer.channels,)} if layer.bias else {})


def _windows(size: int, kernel: int, stride: int, padding: Padding, *, ceil: bool) -> int:
    """How many windows fit (CAFFE.md 7)."""
    if isinstance(padding, str):
        return math.ceil(size / stride)
    reach = size + 2 * padding - kernel
    windows = (math.ceil(reach / stride) if ceil else reach // stride) + 1
    # Caffe drops a last window that would start in the padding.
    starts_outside = ceil and padding > 0 and (windows - 1) * stride >= size + padding
    return windows - starts_outside
