"""CUDA through pycuda: no CUDA graphs, and each context belongs to one thread.

Not run on a GPU yet: written after pycuda 2026.1's source, tested against a double that keeps the calls.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
from typing import Any

import numpy as np

from runtime.cuda_api import Direction
from runtime.errors import UnavailableError, UnsupportedError, UsageError

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING (cuda.h); pycuda passes flags on and names none of them."""

_NO_GRAPHS = "pycuda has no CUDA graphs: take cuda_api=cuda-bindings, or leave out cuda_graph"


class PyCuda:
    """The `pycuda` adapter, see CudaApi. It keeps pycuda's objects, which give back when they are let go."""

    def __init__(self) -> None:
        # NOTE: not pycuda.autoinit, which makes a context of its own: TensorRT uses the primary one
        from pycuda import driver

        self._driver = driver
        self._kept: dict[int, Any] = {}
        self._thread = threading.get_ident()
        self._contexts: dict[int, Any] = {}
        self._told(driver.init)

    def device_count(self) -> int:
        return int(self._driver.Device.count())

    def use(self, device: int) -> None:
        """Raises UsageError in any thread but the first: one that ends with a context ends the process."""
        if threading.get_ident() != self._thread:
            raise UsageError(
                "pycuda works in the thread that opened the session only, got another: bind and run there, or"
                " take cuda_api=cuda-bindings"
            )
        if device not in self._contexts:
            context = self._told(lambda: self._driver.Device(device).retain_primary_context())
            context.push()
            atexit.register(context.pop)  # or pycuda ends the process with SIGABRT
            self._contexts[device] = context

    def malloc(self, size: int) -> int:
        memory = self._told(self._driver.mem_alloc, size)
        return self._keep(int(memory), memory)

    def free(self, address: int) -> None:
        del self._kept[address]

    def malloc_pinned(self, size: int) -> int:
        memory = self._told(self._driver.pagelocked_empty, size, np.uint8)
        return self._keep(int(memory.ctypes.data), memory)

    def free_pinned(self, address: int) -> None:
        del self._kept[address]

    def memcpy_async(self, target: int, source: int, size: int, direction: Direction, stream: int) -> None:
        queue = self._kept[stream]
        if direction is Direction.TO_DEVICE:
            self._told(self._driver.memcpy_htod_async, target, _bytes_at(source, size), queue)
        else:
            self._told(self._driver.memcpy_dtoh_async, _bytes_at(target, size), source, queue)

    def create_stream(self) -> int:
        stream = self._told(self._driver.Stream, _NON_BLOCKING)
        return self._keep(int(stream.handle), stream)

    def destroy_stream(self, stream: int) -> None:
        del self._kept[stream]

    def synchronize(self, stream: int) -> None:
        self._told(self._kept[stream].synchronize)

    def create_event(self) -> int:
        event = self._told(self._driver.Event)
        return self._keep(id(event), event)  # it tells no handle

    def destroy_event(self, event: int) -> None:
        del self._kept[event]

    def record(self, event: int, stream: int) -> None:
        self._told(self._kept[event].record, self._kept[stream])

    def elapsed_ms(self, start: int, end: int) -> float:
        return float(self._told(self._kept[start].time_till, self._kept[end]))

    def begin_capture(self, stream: int) -> None:
        raise UnsupportedError(_NO_GRAPHS)

    def end_capture(self, stream: int) -> int:
        raise UnsupportedError(_NO_GRAPHS)

    def abandon_capture(self, stream: int) -> None:
        """There is none."""

    def launch(self, graph: int, stream: int) -> None:
        raise UnsupportedError(_NO_GRAPHS)

    def destroy_graph(self, graph: int) -> None:
        """There is none."""

    def _keep(self, number: int, thing: Any) -> int:
        self._kept[number] = thing
        return number

    def _told(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except self._driver.Error as error:
            line = " ".join(str(error).split())
            raise UnavailableError(
                f"pycuda says {line}; take a smaller batch if memory is short, or look at `nvidia-smi`"
            ) from error


def _bytes_at(address: int, size: int) -> Any:
    """Host memory as the buffer that pycuda wants."""
    return (ctypes.c_char * size).from_address(address)
