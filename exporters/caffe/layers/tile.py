"""Tile: a blob several times over along one axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`tiles` copies, one after the other, along `axis`."""
    parameter = build.parameter.tile_param
    axis = build.axis(bottoms[0], parameter.axis)
    (size,) = build.sizes(bottoms[0], axis, axis + 1)
    if parameter.tiles < 1:
        raise build.error(f"tiles is {parameter.tiles}; give 1 or more")
    shape = dims(bottoms[0])
    repeats = [parameter.tiles if index == axis else 1 for index in range(len(shape))]
    made = (*shape[:axis], size * parameter.tiles, *shape[axis + 1 :])
    return [build.node("Tile", [bottoms[0], build.constant("repeats", np.array(repeats, np.int64))], made)]
