"""Shapes as Caffe knows them: whole numbers, except for the batch, which is left open."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx_ir as ir

from runtime.errors import ExportError

Dims = tuple[int | str, ...]

BATCH = "batch"
"""The name of every input's first dimension."""

REGIONS = "regions"
"""The name of the first dimension of an input that is read as regions of interest."""

MAX_COUNT = (1 << 31) - 1
"""Caffe counts a blob's values in an int; larger ones do not exist."""


MAX_CONSTANT = 1 << 24
"""The most values that a layer may have worked out now, such as prior boxes; SSD512 has 200 000."""


def dims(value: ir.Value) -> Dims:
    """The dimensions of a value this package made (they are always known)."""
    if value.shape is None:
        raise ExportError(f"value {value.name!r} has no shape; every handler must give one")
    return tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)


def sample_count(sizes: Sequence[int | str]) -> int:
    """How many values one sample of the batch has."""
    return prod(size for size in sizes if isinstance(size, int))
