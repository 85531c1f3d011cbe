"""Kernel, stride, pad and dilation of a convolution, said once, once a dimension, or as height and width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


@dataclass(frozen=True)
class Window:
    """One number for each spatial dimension; Caffe pads both ends alike."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """How many pixels a dilated kernel spans: d * (k - 1) + 1."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    def counts(self, image: Sequence[int]) -> tuple[int, ...]:
        """How many windows fit into `image`, padding included, along each dimension."""
        return tuple(
            (size + 2 * pad - reach) // stride + 1
            for size, pad, reach, stride in zip(image, self.pad, self.reach, self.stride, strict=True)
        )

    @property
    def attributes(self) -> dict[str, tuple[int, ...]]:
        """ONNX's names for the same."""
        return {
            "kernel_shape": self.kernel,
            "strides": self.stride,
            "pads": self.pad * 2,
            "dilations": self.dilation,
        }


def convolution_window(build: LayerBuilder, bottom: ir.Value) -> Window:
    """The layer's window; raises ExportError where it does not fit the spatial dimensions of `bottom`."""
    rank = len(dims(bottom)) - 2
    if rank < 1 or build.parameter.convolution_param.axis not in (1, -rank - 1):
        raise build.error(
            f"wants channels in dimension 1 and pixels behind, got {list(dims(bottom))}"
            f" with axis {build.parameter.convolution_param.axis}"
        )
    window = Window(
        kernel=_sizes(build, "kernel_size", "kernel", None, rank),
        stride=_sizes(build, "stride", "stride", 1, rank),
        pad=_sizes(build, "pad", "pad", 0, rank),
        dilation=_sizes(build, "dilation", None, 1, rank),
    )
    if min(*window.kernel, *window.stride, *window.dilation) < 1:
        raise build.error(f"kernel, stride and dilation must be 1 or more, got {window}")
    return window


def _sizes(
    build: LayerBuilder, field: str, stem: str | None, default: int | None, rank: int
) -> tuple[int, ...]:
    parameter = build.parameter.convolution_param
    values = list(getattr(parameter, field))
    if stem and (parameter.HasField(f"{stem}_h") or parameter.HasField(f"{stem}_w")):
        if values or rank != 2:
            raise build.error(f"{stem}_h and {stem}_w are for two dimensions and exclude {field} {values}")
        return (getattr(parameter, f"{stem}_h"), getattr(parameter, f"{stem}_w"))
    if not values and default is not None:
        values = [default]
    if len(values) not in (1, rank):
        raise build.error(f"{field} {values}: give one number, or one for each of {rank} dimensions")
    return tuple(values * rank if len(values) == 1 else values)
