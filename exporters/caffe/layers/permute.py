"""Permute: dimensions in another order (SSD)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The dimensions in `order`; those it does not name follow in their own."""
    shape = dims(bottoms[0])
    order = list(build.parameter.permute_param.order)
    if len(set(order)) != len(order) or max(order, default=0) >= len(shape):
        raise build.error(f"order {order} does not fit {list(shape)}; name each dimension at most once")
    order += [axis for axis in range(len(shape)) if axis not in order]
    return [build.node("Transpose", bottoms, tuple(shape[axis] for axis in order), {"perm": order})]
