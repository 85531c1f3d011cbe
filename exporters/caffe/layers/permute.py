"""Permute (SSD) and Transpose (CTPN): dimensions in another order."""

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
    return [_in_order(build, bottoms[0], order)]


def transpose(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The dimensions in the order of `dim`, which names every one."""
    order = list(build.parameter.transpose_param.dim)
    if sorted(order) != list(range(len(dims(bottoms[0])))):
        raise build.error(f"dim {order} does not fit {list(dims(bottoms[0]))}; name each dimension once")
    return [_in_order(build, bottoms[0], order)]


def _in_order(build: LayerBuilder, x: ir.Value, order: list[int]) -> ir.Value:
    return build.node("Transpose", [x], tuple(dims(x)[axis] for axis in order), {"perm": order})
