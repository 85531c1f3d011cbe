"""Layers that turn a blob round: Reverse along one axis (CTPN), Flip of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims

_BEFORE_THE_FIRST = -(1 << 31) + 1
"""Where a slice that runs backwards to the first value ends, however long the axis is."""


def reverse(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The last value along `axis` first."""
    axis = build.axis(bottoms[0], build.parameter.reverse_param.axis)
    return [_backwards(build, bottoms[0], [axis])]


def flip(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The image from right to left (`flip_width`) or upside down (`flip_height`), or both."""
    parameter = build.parameter.flip_param
    build.image(bottoms[0])
    axes = [axis for axis, flipped in ((2, parameter.flip_height), (3, parameter.flip_width)) if flipped]
    return [_backwards(build, bottoms[0], axes) if axes else bottoms[0]]


def _backwards(build: LayerBuilder, x: ir.Value, axes: list[int]) -> ir.Value:
    numbers = {
        "starts": [-1] * len(axes),
        "ends": [_BEFORE_THE_FIRST] * len(axes),
        "axes": axes,
        "steps": [-1] * len(axes),
    }
    limits = [build.constant(role, np.array(given, np.int64)) for role, given in numbers.items()]
    return build.node("Slice", [x, *limits], dims(x))
