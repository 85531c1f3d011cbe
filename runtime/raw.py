"""Tensors as the bytes ONNX stores them in: what runtimes take that know no type of ml_dtypes by name.

bfloat16 and float8 are a value in two bytes or one; narrower types are packed, the first value lowest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import DTypeLike, NDArray

from runtime.tensors import Array, TensorSpec

_REGISTERED = 2
"""numpy.dtype.isbuiltin of a type that a package has given NumPy."""

_BYTE = 8

Bytes = NDArray[np.uint8]


def is_numpys(dtype: DTypeLike) -> bool:
    """Whether NumPy has the type of itself, or text; not from ml_dtypes."""
    return np.dtype(dtype).isbuiltin != _REGISTERED


def beyond_numpy(specs: Iterable[TensorSpec]) -> bool:
    """Whether any of the tensors has a type of ml_dtypes."""
    return not all(is_numpys(spec.dtype) for spec in specs)


def to_raw(array: Array) -> Bytes:
    """The bytes of an array of any numeric type, in one row."""
    bits = ir.DataType.from_numpy(array.dtype).bitwidth
    held = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return _packed(held, bits) if bits < _BYTE else held


def from_raw(raw: Bytes, dtype: DTypeLike, shape: Sequence[int]) -> Array:
    """The array that `raw` holds; a copy."""
    numpys = np.dtype(dtype)
    bits = ir.DataType.from_numpy(numpys).bitwidth
    held = _unpacked(raw, bits)[: int(np.prod(shape))] if bits < _BYTE else raw
    return held.copy().view(numpys).reshape(shape)


def _packed(held: Bytes, bits: int) -> Bytes:
    """From a value a byte, as ml_dtypes keeps it."""
    places = _BYTE // bits
    rows = np.pad(held & (2**bits - 1), (0, -len(held) % places)).reshape(-1, places)
    packed: Bytes = np.bitwise_or.reduce(rows << (bits * np.arange(places, dtype=np.uint8)), axis=1)
    return packed


def _unpacked(raw: Bytes, bits: int) -> Bytes:
    shifts = bits * np.arange(_BYTE // bits, dtype=np.uint8)
    unpacked: Bytes = ((raw[:, None] >> shifts) & (2**bits - 1)).reshape(-1)
    return unpacked
