"""What Scale and Bias share: a small array stretched over a blob from one axis on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims
from runtime.tensors import Array


def learned(build: LayerBuilder, x: ir.Value, index: int, role: str, span: tuple[int, int]) -> Array:
    """Blob `index` over `span`: axis and num_axes of `x` (-1: all that follow), then ones to fit it."""
    rank = len(dims(x))
    axis, num_axes = span
    first = build.axis(x, axis) if num_axes else rank
    end = rank if num_axes == -1 else first + num_axes
    if not first <= end <= rank:
        raise build.error(f"axis {axis} and num_axes {num_axes} do not fit {list(dims(x))}")
    sizes = build.sizes(x, first, end)
    return build.blob(index, role, sizes).reshape((*sizes, *[1] * (rank - end)))


def second_bottom(build: LayerBuilder, bottoms: Sequence[ir.Value], axis: int) -> ir.Value:
    """The second bottom with ones behind, so that it stretches over the first from `axis` on."""
    x, small = bottoms
    first = build.axis(x, axis) if dims(small) else 0
    behind = len(dims(x)) - first - len(dims(small))
    if dims(x)[first : first + len(dims(small))] != dims(small):
        raise build.error(
            f"bottom 1 has shape {list(dims(small))}, which is not {list(dims(x))} from axis {axis} on"
        )
    if behind == 0:
        return small
    rank = len(dims(small))
    axes = build.constant("axes", np.arange(rank, rank + behind, dtype=np.int64))
    return build.node("Unsqueeze", [small, axes], (*dims(small), *[1] * behind))
