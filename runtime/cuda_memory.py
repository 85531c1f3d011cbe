"""Memory and streams of one CUDA device, given back when nothing refers to them any more."""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections.abc import Callable, Sequence

import numpy as np

from runtime.cuda_api import CudaApi, Direction
from runtime.errors import HarnessError
from runtime.tensors import Array


class Stream:
    """A non-blocking stream of one device; copies are queued on it in order."""

    def __init__(self, api: CudaApi, device: int) -> None:
        self._api = api
        self._device = device
        self._threads: set[int] = set()
        self.enter()
        self.handle = api.create_stream()
        weakref.finalize(self, api.destroy_stream, self.handle)

    def enter(self) -> None:
        """Let the calling thread work on the stream's device: CUDA keeps that by thread."""
        thread = threading.get_ident()
        if thread not in self._threads:
            self._api.use(self._device)
            self._threads.add(thread)

    def allocate(self, size: int) -> Buffer:
        """`size` bytes of device memory."""
        address = self._api.malloc(max(size, 1))  # a tensor without elements has an address too
        return Buffer(address, self._api.free)

    def pin(self, shape: Sequence[int], dtype: str) -> PinnedArray:
        """An array in host memory that the device copies from and to by itself."""
        elements = math.prod(shape)
        size = max(elements * np.dtype(dtype).itemsize, 1)
        buffer = Buffer(self._api.malloc_pinned(size), self._api.free_pinned)
        memory = memoryview((ctypes.c_char * size).from_address(buffer.pointer))
        return PinnedArray(buffer, np.frombuffer(memory, np.dtype(dtype), elements).reshape(shape))

    def upload(self, buffer: Buffer, array: Array) -> None:
        """Queue the copy of a contiguous array, which must live and stay as it is until `wait` returns."""
        self._copy(buffer.pointer, array.ctypes.data, array.nbytes, Direction.TO_DEVICE)

    def download(self, array: Array, buffer: Buffer) -> None:
        """Queue the copy into a contiguous array; complete once `wait` has returned."""
        self._copy(array.ctypes.data, buffer.pointer, array.nbytes, Direction.TO_HOST)

    def wait(self) -> None:
        self._api.synchronize(self.handle)

    def capture(self, queue: Callable[[], None]) -> Graph:
        """What `queue` puts on the stream, as a graph; whatever it raises ends the capture and is raised."""
        try:
            self._api.begin_capture(self.handle)
            queue()
            graph = self._api.end_capture(self.handle)
        except HarnessError:
            self._api.abandon_capture(self.handle)
            raise
        return Graph(self._api, graph, self.handle)

    def time_ns(self, queue: Callable[[], None]) -> int:
        """Nanoseconds that the device took for what `queue` puts on the stream; half a microsecond exact."""
        events = [Event(self._api) for _ in range(2)]
        events[0].record(self.handle)
        queue()
        events[1].record(self.handle)
        self.wait()
        return round(self._api.elapsed_ms(events[0].handle, events[1].handle) * 1e6)

    def _copy(self, target: int, source: int, size: int, direction: Direction) -> None:
        if size:
            self._api.memcpy_async(target, source, size, direction, self.handle)


class Buffer:
    """Memory at `pointer`, on the device or pinned on the host."""

    def __init__(self, pointer: int, free: Callable[[int], None]) -> None:
        self.pointer = pointer
        weakref.finalize(self, free, pointer)


class PinnedArray:
    """`array` lies in pinned memory, and must not be used after this object is gone."""

    def __init__(self, buffer: Buffer, array: Array) -> None:
        self._buffer = buffer
        self.array = array


class Event:
    """A moment on a stream."""

    def __init__(self, api: CudaApi) -> None:
        self._api = api
        self.handle = api.create_event()
        weakref.finalize(self, api.destroy_event, self.handle)

    def record(self, stream: int) -> None:
        self._api.record(self.handle, stream)


class Graph:
    """Work noted once, to be launched as one call on the stream it was noted on."""

    def __init__(self, api: CudaApi, handle: int, stream: int) -> None:
        self._api = api
        self._handle = handle
        self._stream = stream
        weakref.finalize(self, api.destroy_graph, handle)

    def launch(self) -> None:
        self._api.launch(self._handle, self._stream)
