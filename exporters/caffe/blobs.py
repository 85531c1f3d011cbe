"""Learned arrays as Caffe stores them: `BlobProto` to NumPy and back, without a Python loop over values."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from exporters.caffe.schema import schema
from runtime.errors import GraphError
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import BlobProto

_LEGACY_DIMS = ("num", "channels", "height", "width")
_DATA_TAG = b"\x2a"  # field 5 (data), wire type 2 (length-delimited)


def blob_array(blob: BlobProto, where: str) -> Array:
    """The blob's values as float32 in its own shape; `where` names it in errors.

    Raises GraphError when the number of values is not the product of the dimensions, or one is not finite.
    """
    shape = blob_shape(blob)
    # NOTE: doubles win where both are present, as in Caffe's Blob::FromProto.
    values = blob.double_data if len(blob.double_data) else blob.data
    if min(shape, default=1) < 0 or prod(shape) != len(values):
        raise GraphError(
            f"{where}: shape {list(shape)} wants {prod(shape)} values, the file holds {len(values)};"
            " the caffemodel is damaged or not a caffemodel"
        )
    array = np.array(values, dtype=np.float32).reshape(shape)
    if not np.isfinite(array).all():
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        raise GraphError(f"{where} holds {bad} NaN or infinite values; the caffemodel is damaged")
    return array


def blob_shape(blob: BlobProto) -> tuple[int, ...]:
    """Its dimensions; blobs written before 2014-12 have four named ones."""
    if any(blob.HasField(name) for name in _LEGACY_DIMS):
        return (blob.num, blob.channels, blob.height, blob.width)
    return tuple(blob.shape.dim)


def blob_message(array: Array) -> BlobProto:
    """`array` as a `BlobProto` with float32 data, for writing a caffemodel.

    The packed field is put down as bytes: appending 25 million values to it one by one takes seconds.
    """
    data = np.ascontiguousarray(array, dtype="<f4").tobytes()
    blob: BlobProto = schema().BlobProto()
    blob.MergeFromString(_DATA_TAG + _varint(len(data)) + data)
    blob.shape.dim.extend(array.shape)
    return blob


def _varint(number: int) -> bytes:
    """A protocol-buffer varint: seven bits a byte, lowest first, the top bit says that more follow."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
