"""Slice: one blob cut into several along one axis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Cuts at each `slice_point`, or into equal parts, along `axis` (or its old name `slice_dim`)."""
    parameter = build.parameter.slice_param
    named = parameter.slice_dim if parameter.HasField("slice_dim") else parameter.axis
    axis = build.axis(bottoms[0], named)
    (size,) = build.sizes(bottoms[0], axis, axis + 1)
    parts = _parts(build, list(parameter.slice_point), size)
    if len(parts) == 1:
        return bottoms
    shape = dims(bottoms[0])
    lengths = build.constant("lengths", np.array(parts, np.int64))
    shapes = [(*shape[:axis], part, *shape[axis + 1 :]) for part in parts]
    return build.nodes("Split", [bottoms[0], lengths], shapes, {"axis": axis})


def _parts(build: LayerBuilder, points: list[int], size: int) -> list[int]:
    if not points:
        if size % build.tops:
            raise build.error(f"{size} values cannot be cut into {build.tops} equal parts; give slice_point")
        return [size // build.tops] * build.tops
    parts = [end - start for start, end in itertools.pairwise([0, *points, size])]
    if len(parts) != build.tops or min(parts) < 1:
        raise build.error(f"slice_point {points} does not cut {size} values into {build.tops} parts")
    return parts
