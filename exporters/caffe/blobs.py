"""Learned arrays as Caffe stores them: a `BlobProto`'s bytes to NumPy and back, with no loop over values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from exporters.caffe.schema import schema
from exporters.mapped import let_go
from exporters.wire import I32, I64, LEN, VARINT, Field, Wire, WireError, signed, varint
from runtime.errors import GraphError
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import BlobProto

MAX_AXES = 32
"""Caffe's kMaxBlobAxes."""

_LEGACY_DIMS = (1, 2, 3, 4)  # num, channels, height, width
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
_DIM = 1
_DATA_TAG = b"\x2a"  # field 5 (data), wire type 2 (length-delimited)
_PART = 1 << 22
"""Values that are looked at together."""


@dataclass(frozen=True, eq=False)
class SavedBlob:
    """One blob of a caffemodel: its shape, and its values as views into the file, in the file's order."""

    shape: tuple[int, ...]
    values: tuple[Array, ...]

    @property
    def count(self) -> int:
        """How many values the file holds, whatever the shape says."""
        return sum(part.size for part in self.values)


def read_blob(wire: Wire, start: int, end: int) -> SavedBlob:
    """The `BlobProto` that lies at start:end; raises WireError."""
    legacy: dict[int, int] = {}
    dims: list[int] = []
    floats: list[Array] = []
    doubles: list[Array] = []
    for field in wire.fields(start, end):
        if field.tag in _LEGACY_DIMS:
            field.expect("a blob's dimension", VARINT)
            legacy[field.tag] = signed(field.number, 32)
        elif field.tag == _SHAPE:
            field.expect("a blob's shape", LEN)
            dims += islice(_dims(wire, field), MAX_AXES + 1)
        elif field.tag == _DATA:
            field.expect("a blob's data", LEN, I32)
            floats.append(wire.values(field, "<f4"))
        elif field.tag == _DOUBLE_DATA:
            field.expect("a blob's double_data", LEN, I64)
            doubles.append(wire.values(field, "<f8"))
    if len(dims) > MAX_AXES:
        raise WireError(f"the shape of the blob at byte {start} has more than {MAX_AXES} dimensions")
    # NOTE: doubles win where both are present, as in Caffe's Blob::FromProto.
    values = doubles if any(part.size for part in doubles) else floats
    # Blobs written before 2014-12 have four named dimensions, which win as well.
    shape = [legacy.get(tag, 0) for tag in _LEGACY_DIMS] if legacy else dims
    return SavedBlob(tuple(shape), tuple(part for part in values if part.size))


def _dims(wire: Wire, shape: Field) -> Iterator[int]:
    for field in wire.fields(shape.start, shape.end):
        if field.tag == _DIM:
            field.expect("a blob's dimension", VARINT, LEN)
            yield from (signed(number, 64) for number in wire.varints(field))


def blob_array(blob: SavedBlob, where: str) -> Array:
    """The blob's values as float32 in its own shape, read-only; `where` names it in errors.

    A view into the file where the values lie there as float32 in one piece, as Caffe writes them.
    Raises GraphError when the number of values is not the product of the dimensions, or one is not finite.
    """
    if min(blob.shape, default=1) < 0 or prod(blob.shape) != blob.count:
        raise GraphError(
            f"{where}: shape {list(blob.shape)} wants {prod(blob.shape)} values, the file holds"
            f" {blob.count}; the caffemodel is damaged or not a caffemodel"
        )
    array = _joined(blob.values, blob.count).reshape(blob.shape)
    bad = _not_finite(array)
    if bad:
        raise GraphError(f"{where} holds {bad} NaN or infinite values; the caffemodel is damaged")
    return array


def _joined(parts: Sequence[Array], count: int) -> Array:
    if len(parts) == 1 and parts[0].dtype == np.float32 and parts[0].flags.c_contiguous:
        return parts[0]
    joined = np.empty(count, np.float32)
    start = 0
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is told as not finite
        for part in parts:
            joined[start : start + part.size] = part
            start += part.size
            let_go(part)
    joined.flags.writeable = False
    return joined


def _not_finite(array: Array) -> int:
    """How many values are NaN or infinite."""
    bad = 0
    flat = array.reshape(-1)
    for start in range(0, flat.size, _PART):
        part = flat[start : start + _PART]
        bad += part.size - int(np.count_nonzero(np.isfinite(part)))
        let_go(part)
    return bad


def blob_message(array: Array) -> BlobProto:
    """`array` as a `BlobProto` with float32 data, for writing a caffemodel.

    The packed field is put down as bytes: appending 25 million values to it one by one takes seconds.
    """
    data = np.ascontiguousarray(array, dtype="<f4").tobytes()
    blob: BlobProto = schema().BlobProto()
    blob.MergeFromString(_DATA_TAG + varint(len(data)) + data)
    blob.shape.dim.extend(array.shape)
    return blob
