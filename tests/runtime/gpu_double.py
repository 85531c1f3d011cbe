"""Stands in for `cuda.bindings.runtime` where there is no GPU.

Device memory is host memory of its own. What a stream is given is done when it is waited for, not before, so
that a missing wait shows. What a real GPU punishes is an error here: a copy over the end of an allocation,
memory used after it was freed, the default stream, a capture that allocates or waits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace

import numpy as np

from runtime.tensors import Array

Work = Callable[[], None]

_LEFT_OVER = b"\xa5"
"""What fresh memory holds: numbers that no feed has, and indices that no table has."""


class Status(IntEnum):
    cudaSuccess = 0  # noqa: N815 - CUDA's own names
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorIllegalAddress = 700  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815
    cudaErrorStreamCaptureInvalidated = 901  # noqa: N815


Answer = tuple[Status] | tuple[Status, int | float | None]
Memory = ctypes.Array[ctypes.c_char]


class CudaRuntime:
    """The calls of cuda.bindings.runtime that we make; each returns a tuple that begins with a status.

    calls: their names, in order.     failing: those that fail, and how.     milliseconds: between events.
    """

    cudaStreamNonBlocking = 1  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815

    def __init__(self, capacity: int = 2**30, count: int = 2) -> None:
        self.capacity = capacity
        self.count = count
        self.calls: list[str] = []
        self.devices: list[int] = []
        self.failing: dict[str, Status] = {}
        self.pinned: dict[int, Memory] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.events: set[int] = set()
        self.milliseconds = 0.25
        self.error = Status.cudaSuccess
        self._memory: dict[int, Memory] = {}
        self._queues: dict[int, list[Work]] = {}
        self._capturing: dict[int, list[Work] | None] = {}
        self._next = 0x5EED

    @property
    def allocations(self) -> int:
        return len(self._memory)

    @property
    def streams(self) -> int:
        return len(self._queues)

    def capturing(self, stream: int) -> bool:
        return stream in self._capturing

    def put(self, stream: int, work: Work) -> None:
        """Queue work on a stream, or note it in the capture that the stream is in."""
        captured = self._capturing.get(stream)
        (self._queues[stream] if captured is None else captured).append(work)

    def flush(self, stream: int) -> None:
        """Do what a stream was given so far."""
        queue = self._queues[stream]
        while queue:
            queue.pop(0)()

    def view(self, pointer: int, like: Array) -> Array:
        """The device's memory at `pointer`, as an array of the same type and shape as `like`."""
        memory = self._memory.get(pointer) or self.pinned[pointer]
        assert like.nbytes <= len(memory)
        flat: Array = np.frombuffer(memoryview(memory), like.dtype, like.size)
        return flat.reshape(like.shape)

    def cudaGetDeviceCount(self) -> Answer:  # noqa: N802
        return self._answer("cudaGetDeviceCount", self.count)

    def cudaSetDevice(self, device: int) -> Answer:  # noqa: N802
        self.devices.append(device)
        return self._answer("cudaSetDevice")

    def cudaStreamCreateWithFlags(self, flags: int) -> Answer:  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        self._queues[self._new()] = []
        return self._answer("cudaStreamCreateWithFlags", self._next)

    def cudaStreamDestroy(self, stream: int) -> Answer:  # noqa: N802
        del self._queues[stream]
        return self._answer("cudaStreamDestroy")

    def cudaStreamSynchronize(self, stream: int) -> Answer:  # noqa: N802
        if self._breaks_capture():
            return (Status.cudaErrorStreamCaptureUnsupported,)
        self.flush(stream)
        return self._answer("cudaStreamSynchronize")

    def cudaMalloc(self, size: int) -> Answer:  # noqa: N802
        if self._breaks_capture():
            return Status.cudaErrorStreamCaptureUnsupported, None
        if size > self.capacity:
            return Status.cudaErrorMemoryAllocation, None
        return self._answer("cudaMalloc", self._allocate(self._memory, size))

    def cudaFree(self, pointer: int) -> Answer:  # noqa: N802
        del self._memory[pointer]
        return self._answer("cudaFree")

    def cudaMallocHost(self, size: int) -> Answer:  # noqa: N802
        return self._answer("cudaMallocHost", self._allocate(self.pinned, size))

    def cudaFreeHost(self, pointer: int) -> Answer:  # noqa: N802
        del self.pinned[pointer]
        return self._answer("cudaFreeHost")

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> Answer:  # noqa: N802
        on_device, on_host = (target, source) if kind == 1 else (source, target)
        assert 0 < size <= len(self._memory[on_device])
        assert on_host not in self._memory
        assert not self.capturing(stream) or on_host in self.pinned  # CUDA captures no copy from other memory
        self.put(stream, lambda: self._copied(target, source, size))
        return self._answer("cudaMemcpyAsync")

    def cudaEventCreate(self) -> Answer:  # noqa: N802
        self.events.add(self._new())
        return self._answer("cudaEventCreate", self._next)

    def cudaEventDestroy(self, event: int) -> Answer:  # noqa: N802
        self.events.remove(event)
        return self._answer("cudaEventDestroy")

    def cudaEventRecord(self, event: int, stream: int) -> Answer:  # noqa: N802
        assert event in self.events
        assert stream in self._queues
        return self._answer("cudaEventRecord")

    def cudaEventElapsedTime(self, start: int, end: int) -> Answer:  # noqa: N802
        assert {start, end} <= self.events
        return self._answer("cudaEventElapsedTime", self.milliseconds)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> Answer:  # noqa: N802
        assert mode == self.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        answer = self._answer("cudaStreamBeginCapture")
        if not answer[0]:
            self._capturing[stream] = []
        return answer

    def cudaStreamEndCapture(self, stream: int) -> Answer:  # noqa: N802
        noted = self._capturing.pop(stream, None)
        answer = self._answer("cudaStreamEndCapture", self._new())
        if noted is None or answer[0]:
            self.error = answer[0] or Status.cudaErrorStreamCaptureInvalidated
            return self.error, None
        self.graphs[self._next] = noted
        return answer

    def cudaGraphInstantiate(self, graph: int, flags: int) -> Answer:  # noqa: N802
        answer = self._answer("cudaGraphInstantiate", self._new())
        if not answer[0]:
            self.graphs[self._next] = self.graphs[graph]
        return answer

    def cudaGraphDestroy(self, graph: int) -> Answer:  # noqa: N802
        del self.graphs[graph]
        return self._answer("cudaGraphDestroy")

    def cudaGraphExecDestroy(self, graph: int) -> Answer:  # noqa: N802
        del self.graphs[graph]
        return self._answer("cudaGraphExecDestroy")

    def cudaGraphLaunch(self, graph: int, stream: int) -> Answer:  # noqa: N802
        for work in self.graphs[graph]:
            self.put(stream, work)
        return self._answer("cudaGraphLaunch")

    def cudaGetLastError(self) -> Answer:  # noqa: N802
        error, self.error = self.error, Status.cudaSuccess
        self.calls.append("cudaGetLastError")
        return (error,)

    def _answer(self, call: str, *values: int | float) -> Answer:
        self.calls.append(call)
        status = self.failing.get(call, Status.cudaSuccess)
        if status:
            self.error = status
        return (status, *values)  # type: ignore[return-value]

    def _breaks_capture(self) -> bool:
        """A call that no capture allows; the capture is worth nothing from then on."""
        for stream in self._capturing:
            self._capturing[stream] = None
            self.error = Status.cudaErrorStreamCaptureUnsupported
        return bool(self._capturing)

    def _copied(self, target: int, source: int, size: int) -> None:
        assert {target, source} & self._memory.keys()  # freed meanwhile otherwise
        ctypes.memmove(target, source, size)

    def _new(self) -> int:
        self._next += 1
        return self._next

    @staticmethod
    def _allocate(memories: dict[int, Memory], size: int) -> int:
        memory = ctypes.create_string_buffer(_LEFT_OVER * size, size)
        memories[ctypes.addressof(memory)] = memory
        return ctypes.addressof(memory)
