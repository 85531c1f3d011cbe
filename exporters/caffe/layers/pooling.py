"""Pooling: maximum or average over windows, with Caffe's own rules for the last window.

Window sizes and the clip rule are those of PoolingLayer::Reshape in BVLC/caffe's pooling_layer.cpp. The nodes
never say `ceil_mode`: below opset 22 ONNX's shape inference ignores the clip rule, and runtimes differ on
what an average divides by. End pads are written out instead, and mean the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term, constant
from exporters.caffe.shapes import Dims, dims
from runtime.tensors import Array

_MOST_PLACES = 256
"""In a window, where its maximum's place is asked for: each makes a few nodes. SegNet and ENet have four."""


@dataclass(frozen=True)
class Windows:
    """The windows along one dimension of `size` pixels: `count` of them, `stride` apart, from -pad on."""

    size: int
    kernel: int
    stride: int
    pad: int
    count: int

    @property
    def overhang(self) -> int:
        """By how many pixels the last window ends behind the image; negative where it ends inside."""
        return (self.count - 1) * self.stride - self.pad + self.kernel - self.size

    @property
    def divisors(self) -> Array:
        """What each window's average divides by: its part of [-pad, size + pad), so all but overhang."""
        starts = np.arange(self.count) * self.stride - self.pad
        return np.minimum(starts + self.kernel, self.size + self.pad) - starts


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """MAX or AVE over windows, or over the whole image with `global_pooling`."""
    parameter = build.parameter.pooling_param
    if parameter.pool == parameter.STOCHASTIC:
        raise build.error("pool: STOCHASTIC draws at random; ONNX has MAX and AVE")
    channels, *image = build.image(bottoms[0])
    batch = dims(bottoms[0])[0]
    averaged = parameter.pool == parameter.AVE
    if parameter.global_pooling:
        return [_whole_image(build, bottoms[0], (batch, channels, 1, 1), averaged)]
    windows = [_windows(build, size, index) for index, size in enumerate(image)]
    shape = (batch, channels, *(axis.count for axis in windows))
    if build.tops == 2 and not averaged:
        return _maximum_and_place(build, bottoms[0], windows, shape)
    return [(average if averaged else maximum)(build, bottoms[0], windows, shape)]


def windows_along(
    build: LayerBuilder, size: int, window: tuple[int, int, int], *, padded: bool, down: bool = False
) -> Windows:
    """The windows of kernel, stride and pad along `size` pixels; `padded`: along either dimension."""
    kernel, stride, pad = window
    if kernel < 1 or stride < 1 or pad >= kernel:
        raise build.error(
            f"kernel {kernel}, stride {stride}, pad {pad}: a window is 1 or more and wider than its pad"
        )
    span = size + 2 * pad - kernel
    count = (span // stride if down else -(-span // stride)) + 1
    # NOTE: the clip rule: with padding, a last window that would start behind the image's end pad is dropped.
    if padded and (count - 1) * stride >= size + pad:
        count -= 1
    if count < 1 or (count - 1) * stride - pad >= size:
        raise build.error(
            f"a window of kernel {kernel}, stride {stride}, pad {pad} lies outside of {size} pixels"
        )
    return Windows(size, kernel, stride, pad, count)


def maximum(build: LayerBuilder, x: ir.Value, windows: Sequence[Windows], shape: Dims) -> ir.Value:
    """The largest value of each window; padding has none."""
    return build.node("MaxPool", [x], shape, _attributes(windows))


def average(build: LayerBuilder, x: ir.Value, windows: Sequence[Windows], shape: Dims) -> ir.Value:
    """The mean of each window, padding counted, overhang not."""
    overhanging = any(axis.overhang > axis.pad for axis in windows)
    if not overhanging:  # every window is full, padding counted
        return build.node("AveragePool", [x], shape, {**_attributes(windows), "count_include_pad": 1})
    if not any(axis.pad for axis in windows):  # only overhang is padding, and that is not counted
        return build.node("AveragePool", [x], shape, {**_attributes(windows), "count_include_pad": 0})
    pooled = build.node("AveragePool", [x], shape, {**_attributes(windows), "count_include_pad": 1})
    area = prod(axis.kernel for axis in windows)
    correction = (area / np.outer(*(axis.divisors for axis in windows))).astype(np.float32)
    return build.node("Mul", [pooled, build.constant("divisor", correction)], shape)


def _whole_image(build: LayerBuilder, x: ir.Value, shape: Dims, averaged: bool) -> ir.Value:
    parameter = build.parameter.pooling_param
    sizes = ("kernel_size", "kernel_h", "kernel_w", "pad", "pad_h", "pad_w")
    given = [name for name in sizes if getattr(parameter, name)]
    if given:
        raise build.error(f"global_pooling pools the whole image; leave out {', '.join(given)}")
    return build.node("GlobalAveragePool" if averaged else "GlobalMaxPool", [x], shape)


def _windows(build: LayerBuilder, size: int, index: int) -> Windows:
    kernel = _number(build, "kernel_size", "kernel", index)
    stride, pad = _number(build, "stride", "stride", index), _number(build, "pad", "pad", index)
    padded = any(_number(build, "pad", "pad", axis) for axis in (0, 1))
    return windows_along(build, size, (kernel, stride, pad), padded=padded, down=_rounds_down(build))


def _number(build: LayerBuilder, field: str, stem: str, index: int) -> int:
    """`kernel_size`, `stride` or `pad`, or its _h or _w for dimension `index`."""
    parameter = build.parameter.pooling_param
    pair = (f"{stem}_h", f"{stem}_w")
    if not any(parameter.HasField(name) for name in pair):
        return int(getattr(parameter, field))
    if parameter.HasField(field) or not all(parameter.HasField(name) for name in pair):
        raise build.error(f"give {field}, or both {pair[0]} and {pair[1]}")
    return int(getattr(parameter, pair[index]))


def _rounds_down(build: LayerBuilder) -> bool:
    """BVLC says `round_mode: FLOOR`, DenseNet's prototxt `ceil_mode: false`."""
    parameter = build.parameter.pooling_param
    return bool(parameter.round_mode == parameter.FLOOR or not parameter.ceil_mode)


def _maximum_and_place(
    build: LayerBuilder, x: ir.Value, windows: Sequence[Windows], shape: Dims
) -> Sequence[ir.Value]:
    """Also where in its channel each maximum lies (row * width + column), for an Upsample layer.

    NOTE: ONNX's MaxPool can tell, but TensorRT does not take that, and OpenVINO counts otherwise. So each
    place in the window is looked at on its own, from the last to the first, which wins among equals.
    """
    places = prod(axis.kernel for axis in windows)
    if places > _MOST_PLACES:
        raise build.error(
            f"a window of {places} places is too large for a second top, which takes {_MOST_PLACES}"
        )
    pooled = maximum(build, x, windows, shape)
    padded, width = _padded(Term(build, x), windows), windows[1].size
    place = constant(build, "place", np.array(0, np.float32))
    for down, right in reversed(list(product(*(range(axis.kernel) for axis in windows)))):
        here = _every(padded, windows, (down, right)) >= Term(build, pooled)
        place = here.where(float(down * width + right), place)
    rows, columns = (np.arange(axis.count) * axis.stride - axis.pad for axis in windows)
    corners = (rows[:, np.newaxis] * width + columns).astype(np.float32)
    return [pooled, (place + corners).value]


def _padded(x: Term, windows: Sequence[Windows]) -> Term:
    """The image with as much around it as the windows cover, lower than anything in it."""
    before, behind = [axis.pad for axis in windows], [max(axis.overhang, 0) for axis in windows]
    if not any(before + behind):
        return x
    pads = x.constant("pads", np.array([0, 0, *before, 0, 0, *behind], np.int64))
    lowest = x.constant("lowest", np.array(np.finfo(np.float32).min))
    sizes = [axis.size + first + last for axis, first, last in zip(windows, before, behind, strict=True)]
    return x.make("Pad", [pads, lowest], (*x.shape[:2], *sizes))


def _every(x: Term, windows: Sequence[Windows], offset: tuple[int, int]) -> Term:
    """The pixel at `offset` of each window."""
    numbers = {
        "starts": offset,
        "ends": [
            first + (axis.count - 1) * axis.stride + 1 for first, axis in zip(offset, windows, strict=True)
        ],
        "axes": (2, 3),
        "steps": [axis.stride for axis in windows],
    }
    limits = [x.constant(role, np.array(given, np.int64)) for role, given in numbers.items()]
    return x.make("Slice", limits, (*x.shape[:2], *(axis.count for axis in windows)))


def _attributes(windows: Sequence[Windows]) -> dict[str, list[int]]:
    return {
        "kernel_shape": [axis.kernel for axis in windows],
        "strides": [axis.stride for axis in windows],
        "pads": [axis.pad for axis in windows] + [max(axis.overhang, 0) for axis in windows],
    }
