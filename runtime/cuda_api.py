"""What a session needs of CUDA, in plain numbers: the contract of its adapters."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Direction(StrEnum):
    """Of a copy between host and device."""

    TO_DEVICE = "to device"
    TO_HOST = "to host"


class CudaApi(Protocol):
    """Addresses, streams, events and graphs are whole numbers, as TensorRT takes them.

    A call that fails raises UnavailableError; one that gives back is silent, since after a fault of the
    device nothing can be given back.
    """

    def device_count(self) -> int: ...

    def use(self, device: int) -> None:
        """Let the calling thread work on `device`, in the context that libraries share (its primary one)."""

    def malloc(self, size: int) -> int: ...

    def free(self, address: int) -> None: ...

    def malloc_pinned(self, size: int) -> int:
        """Host memory that the device reads and writes itself, so that a copy needs no other one."""

    def free_pinned(self, address: int) -> None: ...

    def memcpy_async(self, target: int, source: int, size: int, direction: Direction, stream: int) -> None:
        """Queue a copy of `size` bytes, more than 0."""

    def create_stream(self) -> int:
        """One that does not wait for the default stream."""

    def destroy_stream(self, stream: int) -> None: ...

    def synchronize(self, stream: int) -> None:
        """Return when all that was queued is done."""

    def create_event(self) -> int: ...

    def destroy_event(self, event: int) -> None: ...

    def record(self, event: int, stream: int) -> None: ...

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two events whose stream has been waited for."""

    def begin_capture(self, stream: int) -> None:
        """From now on this thread's calls on the stream are noted instead of run."""

    def end_capture(self, stream: int) -> int:
        """What was noted, as a graph to launch."""

    def abandon_capture(self, stream: int) -> None:
        """End a capture that went wrong, and forget its error."""

    def launch(self, graph: int, stream: int) -> None: ...

    def destroy_graph(self, graph: int) -> None: ...
