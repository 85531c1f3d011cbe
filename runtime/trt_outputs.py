"""Outputs of a query: of a shape known beforehand, or of one that depends on the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from runtime.cuda_memory import Buffer, Stream
from runtime.errors import HarnessError
from runtime.tensors import Array, TensorSpec


class Output(Protocol):
    """Where a query leaves one output."""

    @property
    def fixed(self) -> bool:
        """Whether shape and address are known before the query runs."""

    def fetch(self) -> Array:
        """A new array of the last run's values, complete once the stream has been waited for."""


class DeviceOutput:
    """In the device's memory, at one address and of one shape."""

    fixed = True

    def __init__(self, stream: Stream, spec: TensorSpec, shape: Sequence[int]) -> None:
        self._stream = stream
        self.dtype = spec.dtype
        self.shape = tuple(shape)
        self.buffer = stream.allocate(math.prod(self.shape) * np.dtype(spec.dtype).itemsize)

    def fetch(self) -> Array:
        array = np.empty(self.shape, np.dtype(self.dtype))
        self._stream.download(array, self.buffer)
        return array


class HostOutput:
    """In host memory even on the device's side: sizes, which TensorRT computes on the host."""

    fixed = True

    def __init__(self, stream: Stream, spec: TensorSpec, shape: Sequence[int]) -> None:
        self._pinned = stream.pin(shape, spec.dtype)
        self.pointer: int = self._pinned.array.ctypes.data

    def fetch(self) -> Array:
        array: Array = self._pinned.array.copy()
        return array


class GrowingOutput:
    """Of a shape that depends on the data (NonMaxSuppression): TensorRT asks for memory while it runs."""

    fixed = False

    def __init__(self, stream: Stream, spec: TensorSpec) -> None:
        self._stream = stream
        self._dtype = np.dtype(spec.dtype)
        self._buffer: Buffer | None = None
        self._size = 0
        self._shape: tuple[int, ...] = ()
        self._failure: HarnessError | None = None

    def grow(self, size: int) -> int:
        """The address of `size` bytes; 0 where there are none."""
        if self._buffer is None or size > self._size:
            try:
                self._buffer = None  # what it holds is not wanted any more
                self._buffer, self._size = self._stream.allocate(size), size
            except HarnessError as error:  # which must not reach TensorRT
                self._failure = error
                return 0
        return self._buffer.pointer

    def raise_failure(self) -> None:
        """Raise, once, why memory was refused in the last run, if it was."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def takes(self, shape: Sequence[int]) -> None:
        """The shape that the values have in the end."""
        self._shape = tuple(shape)

    def fetch(self) -> Array:
        array = np.empty(self._shape, self._dtype)
        if self._buffer is not None:
            self._stream.download(array, self._buffer)
        return array


def make_allocator(trt: Any, output: GrowingOutput) -> Any:
    """What TensorRT calls for the memory of one output; the caller keeps it as long as its context."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]  # the package ships no types
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            return output.grow(size)  # cudaMalloc aligns to 256 bytes, more than any tensor wants

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            return output.grow(size)

        def notify_shape(self, tensor_name: str, shape: Sequence[int]) -> None:
            output.takes(shape)

    return Allocator()
