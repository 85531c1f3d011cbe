"""CUDA through the low-level calls of NVIDIA's cuda-bindings.

Not run on a GPU yet: the calls are those that the package has (tests/runtime/test_trt_bindings.py), and a
double keeps them.
"""

from __future__ import annotations

from typing import Any

from runtime.cuda_api import Direction
from runtime.errors import UnavailableError

_ADVICE = {
    "cudaErrorMemoryAllocation": "take a smaller batch, or end what else fills the GPU (`nvidia-smi`)",
    "cudaErrorInsufficientDriver": "install a driver as new as the CUDA that cuda-bindings is made for",
}
_ADVICE_OTHERWISE = "start again in a new process, and look at `nvidia-smi` if it stays"


class CudaBindings:
    """The `cuda-bindings` adapter, see CudaApi."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        kinds = runtime.cudaMemcpyKind
        self._runtime = runtime
        self._kinds = {
            Direction.TO_DEVICE: kinds.cudaMemcpyHostToDevice,
            Direction.TO_HOST: kinds.cudaMemcpyDeviceToHost,
        }

    def device_count(self) -> int:
        return int(self._call("cudaGetDeviceCount"))

    def use(self, device: int) -> None:
        self._call("cudaSetDevice", device)

    def malloc(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        self._runtime.cudaFree(address)

    def malloc_pinned(self, size: int) -> int:
        return int(self._call("cudaMallocHost", size))

    def free_pinned(self, address: int) -> None:
        self._runtime.cudaFreeHost(address)

    def memcpy_async(self, target: int, source: int, size: int, direction: Direction, stream: int) -> None:
        self._call("cudaMemcpyAsync", target, source, size, self._kinds[direction], stream)

    def create_stream(self) -> int:
        return int(self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking))

    def destroy_stream(self, stream: int) -> None:
        self._runtime.cudaStreamDestroy(stream)

    def synchronize(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def create_event(self) -> int:
        return int(self._call("cudaEventCreate"))

    def destroy_event(self, event: int) -> None:
        self._runtime.cudaEventDestroy(event)

    def record(self, event: int, stream: int) -> None:
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, start: int, end: int) -> float:
        return float(self._call("cudaEventElapsedTime", start, end))

    def begin_capture(self, stream: int) -> None:
        # NOTE: thread-local, or what another thread allocates meanwhile would end the capture
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return int(self._call("cudaGraphInstantiate", graph, 0))
        finally:
            self._runtime.cudaGraphDestroy(graph)

    def abandon_capture(self, stream: int) -> None:
        status, graph = self._runtime.cudaStreamEndCapture(stream)
        if not int(status):
            self._runtime.cudaGraphDestroy(graph)
        self._runtime.cudaGetLastError()

    def launch(self, graph: int, stream: int) -> None:
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._runtime.cudaGraphExecDestroy(graph)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *values = getattr(self._runtime, name)(*arguments)
        if int(status):
            raise UnavailableError(
                f"{name} says {status.name}; {_ADVICE.get(status.name, _ADVICE_OTHERWISE)}"
            )
        return values[0] if values else None
