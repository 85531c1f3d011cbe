"""Tensors of types that NumPy does not have of itself, to and from ONNX Runtime, as the bytes they are."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from runtime.raw import from_raw, is_numpys, to_raw
from runtime.tensors import Array, Feed


class ValueQuery:
    """From arrays to arrays in host memory, of any type but text."""

    def __init__(self, session: Any, feed: Feed, options: Any) -> None:
        self._names = [output.name for output in session.get_outputs()]
        self._feed = feed
        self._call = partial(session.run_with_ort_values, self._names, run_options=options)
        self._results: list[Array] = []

    def run(self) -> None:
        values = {name: to_value(array) for name, array in self._feed.items()}
        self._results = [to_array(value) for value in self._call(values)]

    def outputs(self) -> dict[str, Array]:
        return dict(zip(self._names, self._results, strict=True))


def to_value(array: Array) -> Any:
    """An OrtValue of `array`, in the machine's own memory."""
    import onnxruntime

    if is_numpys(array.dtype):
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)
    # It takes the shape from an array, and the bytes from where that lies: as many as the type needs.
    held = np.zeros(array.shape, f"u{array.dtype.itemsize}")
    raw = to_raw(array)
    held.reshape(-1).view(np.uint8)[: len(raw)] = raw
    number = ir.DataType.from_numpy(array.dtype).value
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(held, number)


def to_array(value: Any) -> Array:
    """A copy of what an OrtValue in the machine's own memory holds."""
    dtype = ir.DataType(value.element_type())
    if is_numpys(dtype.numpy()):
        copy: Array = value.numpy().copy()
        return copy
    shape = tuple(value.shape())
    size = -(-int(np.prod(shape)) * dtype.bitwidth // 8)
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return from_raw(np.frombuffer(raw, np.uint8), dtype.numpy(), shape)
