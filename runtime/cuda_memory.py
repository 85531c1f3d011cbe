"""Device memory and streams, through the low-level calls of cuda-bindings.

Not run on a GPU yet: written after the package's documentation, tested against a double that keeps
the calls.
"""

from __future__ import annotations

import weakref
from typing import Any

from runtime.errors import UnavailableError
from runtime.tensors import Array


class Stream:
    """A non-blocking stream of one device; copies are queued on it in order."""

    def __init__(self, device: int) -> None:
        from cuda.bindings import runtime

        self._runtime = runtime
        self._call("cudaSetDevice", device)
        self.handle = int(self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking))
        weakref.finalize(self, runtime.cudaStreamDestroy, self.handle)

    def allocate(self, size: int) -> Buffer:
        """`size` bytes of device memory, given back when nothing refers to the buffer any more."""
        pointer = int(self._call("cudaMalloc", max(size, 1)))  # a tensor without elements has an address too
        return Buffer(pointer, self._runtime.cudaFree)

    def upload(self, buffer: Buffer, array: Array) -> None:
        """Queue the copy of a contiguous array, which must live until `wait` returns."""
        direction = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(buffer.pointer, array.ctypes.data, array.nbytes, direction)

    def download(self, array: Array, buffer: Buffer) -> None:
        """Queue the copy into a contiguous array; complete once `wait` has returned."""
        direction = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(array.ctypes.data, buffer.pointer, array.nbytes, direction)

    def wait(self) -> None:
        self._call("cudaStreamSynchronize", self.handle)

    def _copy(self, target: int, source: int, size: int, direction: Any) -> None:
        self._call("cudaMemcpyAsync", target, source, size, direction, self.handle)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *values = getattr(self._runtime, name)(*arguments)
        if int(status):
            raise UnavailableError(f"{name} says {status.name}; look at the GPU's memory with `nvidia-smi`")
        return values[0] if values else None


class Buffer:
    """Memory at `pointer` on the device."""

    def __init__(self, pointer: int, free: Any) -> None:
        self.pointer = pointer
        weakref.finalize(self, free, pointer)
