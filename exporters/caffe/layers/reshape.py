"""Reshape: the same values under other dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import times
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
    """`bottom` with the dimensions `target`; of the open ones all but one stay where they are."""
    numbers = [_number(size, index, dims(bottom)) for index, size in enumerate(target)]
    if numbers.count(-1) > 1:
        raise build.error(f"{list(dims(bottom))} to {list(target)}: only one dimension may be worked out")
    shape = build.constant("shape", np.array(numbers, np.int64))
    return build.node("Reshape", [bottom, shape], target)


def _number(size: int | str, index: int, held: Dims) -> int:
    """What ONNX is told: the size, 0 for an open one that stays, -1 for one to be worked out."""
    if isinstance(size, int):
        return size
    return 0 if held[index : index + 1] == (size,) else -1


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
    if _open(held) and not _open(given):
        in_front = first == 0 and held[0] == shape[0] and isinstance(shape[0], str)
        if in_front and copied and -1 not in copied[1:]:
            return _of_whole_samples(build, held, copied)
        if not in_front and -1 in wanted:
            return _merged(build, held, copied)
    if _open(held) != _open(given):
        raise build.error(f"shape {wanted} for {list(shape)} would fix the batch; begin it with dim: 0")
    rest, over = divmod(sample_count(held), sample_count(given))
    if over or (rest != 1 and -1 not in wanted):
        raise build.error(f"{list(shape)} cannot be reshaped to {wanted}: the number of values differs")
    return tuple(rest if size == -1 else size for size in copied)


def _of_whole_samples(build: LayerBuilder, held: Sequence[int | str], wanted: Sequence[int | str]) -> Dims:
    """`wanted`, whose first dimension is what is left of the batch, whatever number stands there.

    Caffe wants as many values as before, so the number can only be the prototxt's batch, or what becomes of
    it where samples are cut up or joined ([160, 4096] to [16, 10, 4096], LRCN).
    """
    batch, behind = held[0], wanted[1:]
    ours, theirs = sample_count(held), sample_count(behind)
    if ours % theirs and theirs % ours:
        raise build.error(f"{list(held)} cannot be reshaped to {list(wanted)}: the number of values differs")
    return (times(ours // theirs, batch) if ours >= theirs else f"{batch}/{theirs // ours}", *behind)


def _merged(build: LayerBuilder, held: Sequence[int | str], wanted: Sequence[int | str]) -> Dims:
    """`wanted`, whose -1 holds the open dimension and whatever else is left (CTPN: rows of all images)."""
    ours, theirs = sample_count(held), sample_count([size for size in wanted if size != -1])
    if len(_open(held)) > 1 or ours % theirs:
        raise build.error(f"{list(held)} cannot be reshaped to {list(wanted)}: the number of values differs")
    rest = times(ours // theirs, _open(held)[0])
    return tuple(rest if size == -1 else size for size in wanted)


def _open(sizes: Sequence[int | str]) -> list[str]:
    return [size for size in sizes if isinstance(size, str)]
