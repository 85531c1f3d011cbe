"""Reshape: the same values under other dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import Dims, dims, sample_count


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Dimensions `axis` to axis + num_axes replaced by `shape`, where 0 copies and one -1 is worked out."""
    parameter = build.parameter.reshape_param
    shape = dims(bottoms[0])
    first = parameter.axis if parameter.axis >= 0 else parameter.axis + len(shape) + 1
    end = len(shape) if parameter.num_axes < 0 else first + parameter.num_axes
    if not 0 <= first <= end <= len(shape):
        raise build.error(f"axis {parameter.axis} and num_axes {parameter.num_axes} do not fit {list(shape)}")
    return [
        reshape_to(build, bottoms[0], (*shape[:first], *_replaced(build, shape, first, end), *shape[end:]))
    ]


def reshape_to(build: LayerBuilder, bottom: ir.Value, target: Dims) -> ir.Value:
    """`bottom` with the dimensions `target`; the open batch stays open."""
    if any(isinstance(size, str) for size in target[1:]):
        raise build.error(f"{list(dims(bottom))} to {list(target)}: the batch must stay the first dimension")
    numbers = [0 if isinstance(size, str) else size for size in target]
    shape = build.constant("shape", np.array(numbers, np.int64))
    return build.node("Reshape", [bottom, shape], target)


def _replaced(build: LayerBuilder, shape: Dims, first: int, end: int) -> Dims:
    wanted = list(build.parameter.reshape_param.shape.dim)
    copied: list[int | str] = []
    for index, size in enumerate(wanted):
        if size == 0 and first + index >= len(shape):
            raise build.error(f"dim 0 at place {index} has nothing to copy from {list(shape)}")
        copied.append(shape[first + index] if size == 0 else size)
    if min(wanted, default=1) < -1 or wanted.count(-1) > 1:
        raise build.error(f"shape {wanted}; each dim is positive, 0 (copied) or at most once -1 (worked out)")
    held, given = list(shape[first:end]), [size for size in copied if size != -1]
    if [size for size in held if isinstance(size, str)] != [size for size in given if isinstance(size, str)]:
        raise build.error(f"shape {wanted} for {list(shape)} would fix the batch; begin it with dim: 0")
    rest, over = divmod(sample_count(held), sample_count(given))
    if over or (rest != 1 and -1 not in wanted):
        raise build.error(f"{list(shape)} cannot be reshaped to {wanted}: the number of values differs")
    return tuple(rest if size == -1 else size for size in copied)
