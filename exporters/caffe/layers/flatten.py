"""Flatten: a run of dimensions made one."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.layers.reshape import reshape_to
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Dimensions `axis` to `end_axis` (both included) as one."""
    parameter = build.parameter.flatten_param
    shape = dims(bottoms[0])
    first, last = build.axis(bottoms[0], parameter.axis), build.axis(bottoms[0], parameter.end_axis)
    if last < first:
        raise build.error(f"axis {parameter.axis} lies behind end_axis {parameter.end_axis}")
    merged = prod(build.sizes(bottoms[0], first, last + 1)) if last > first else shape[first]
    target = (*shape[:first], merged, *shape[last + 1 :])
    if first == 1 and last == len(shape) - 1:
        return [build.node("Flatten", bottoms, target, {"axis": 1})]
    return [reshape_to(build, bottoms[0], target)]
