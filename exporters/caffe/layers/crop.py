"""Crop: a blob cut down to the size of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """From `axis` on the size of the second bottom, starting at `offset` (one for all axes, or one each)."""
    parameter = build.parameter.crop_param
    axis = build.axis(bottoms[0], parameter.axis)
    if len(dims(bottoms[1])) != len(dims(bottoms[0])):
        raise build.error(f"shapes {list(dims(bottoms[0]))} and {list(dims(bottoms[1]))} differ in rank")
    held, wanted = build.sizes(bottoms[0], axis), build.sizes(bottoms[1], axis)
    offsets = list(parameter.offset) or [0]
    offsets = offsets * len(held) if len(offsets) == 1 else offsets
    ends = [offset + size for offset, size in zip(offsets, wanted, strict=False)]
    if len(offsets) != len(held) or any(end > size for end, size in zip(ends, held, strict=True)):
        raise build.error(f"offset {offsets} and size {list(wanted)} do not fit into {list(held)}")
    limits = [
        build.constant(role, np.array(numbers, np.int64))
        for role, numbers in (("starts", offsets), ("ends", ends), ("axes", range(axis, axis + len(held))))
    ]
    return [build.node("Slice", [bottoms[0], *limits], (*dims(bottoms[0])[:axis], *wanted))]
