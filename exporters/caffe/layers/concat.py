"""Concat: blobs one after the other along one axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import times
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The bottoms along `axis` (or its old name `concat_dim`); the other dimensions must agree."""
    parameter = build.parameter.concat_param
    named = parameter.concat_dim if parameter.HasField("concat_dim") else parameter.axis
    axis = build.axis(bottoms[0], named)
    first = dims(bottoms[0])
    for bottom in bottoms[1:]:
        other = dims(bottom)
        beside = (*other[:axis], *other[axis + 1 :])
        if len(other) != len(first) or beside != (*first[:axis], *first[axis + 1 :]):
            raise build.error(f"shapes {list(first)} and {list(other)} differ beside axis {axis}")
    fixed = [bottom.const_value for bottom in bottoms]
    if all(array is not None for array in fixed):  # the prior boxes of several layers
        return [build.constant("joined", np.concatenate([array.numpy() for array in fixed if array], axis))]
    if len(bottoms) == 1:
        return bottoms
    joined = _joined(build, [dims(bottom)[axis] for bottom in bottoms])
    return [build.node("Concat", bottoms, (*first[:axis], joined, *first[axis + 1 :]), {"axis": axis})]


def _joined(build: LayerBuilder, sizes: Sequence[int | str]) -> int | str:
    """The sum of the sizes; a name of its own where one is open (regions of several maps)."""
    numbers = [size for size in sizes if isinstance(size, int)]
    if len(numbers) == len(sizes):
        return sum(numbers)
    return times(len(sizes), sizes[0]) if len(set(sizes)) == 1 else build.dimension("joined")
