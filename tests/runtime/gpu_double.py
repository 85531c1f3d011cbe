"""Stands in for the `tensorrt` and `cuda.bindings.runtime` modules where there is no GPU.

Device memory is host memory of its own; an engine is ONNX's reference evaluator. What a real GPU
punishes is an error here: a copy over the end of an allocation, memory used after it was freed, the
default stream, a tensor without address or shape.
"""

from __future__ import annotations

import ctypes
import json
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from runtime.tensors import Array

STREAM = 0x5EED


class Status(IntEnum):
    cudaSuccess = 0  # noqa: N815 - CUDA's own names
    cudaErrorMemoryAllocation = 2  # noqa: N815


class CudaRuntime:
    """The calls of cuda.bindings.runtime that we make; each returns a tuple that begins with a status."""

    cudaStreamNonBlocking = 1  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815

    def __init__(self, capacity: int = 2**30) -> None:
        self.capacity = capacity
        self.devices: list[int] = []
        self.streams = 0
        self._memory: dict[int, ctypes.Array[ctypes.c_char]] = {}

    @property
    def allocations(self) -> int:
        return len(self._memory)

    def cudaSetDevice(self, device: int) -> tuple[Status]:  # noqa: N802
        self.devices.append(device)
        return (Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Status, int]:  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        self.streams += 1
        return Status.cudaSuccess, STREAM

    def cudaStreamDestroy(self, stream: int) -> tuple[Status]:  # noqa: N802
        assert stream == STREAM
        self.streams -= 1
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Status]:  # noqa: N802
        assert stream == STREAM
        return (Status.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[Status, int]:  # noqa: N802
        if size > self.capacity:
            return Status.cudaErrorMemoryAllocation, 0
        memory = ctypes.create_string_buffer(size)
        self._memory[ctypes.addressof(memory)] = memory
        return Status.cudaSuccess, ctypes.addressof(memory)

    def cudaFree(self, pointer: int) -> tuple[Status]:  # noqa: N802
        del self._memory[pointer]
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(  # noqa: N802
        self, target: int, source: int, size: int, kind: int, stream: int
    ) -> tuple[Status]:
        assert stream == STREAM
        on_device = target if kind == self.cudaMemcpyKind.cudaMemcpyHostToDevice else source
        assert size <= len(self._memory[on_device])
        ctypes.memmove(target, source, size)
        return (Status.cudaSuccess,)

    def view(self, pointer: int, like: Array) -> Array:
        """The device's memory at `pointer`, as an array of the same type and shape as `like`."""
        assert like.nbytes <= len(self._memory[pointer])
        flat: Array = np.frombuffer(memoryview(self._memory[pointer]), like.dtype, like.size)
        return flat.reshape(like.shape)


class Context:
    def __init__(self, cuda: CudaRuntime, model: onnx.ModelProto) -> None:
        self._cuda = cuda
        self._evaluator = ReferenceEvaluator(model)
        self._types = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in model.graph.input
        }
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Known only once every input's is."""
        feed = {name: np.zeros(self._shapes[name], dtype) for name, dtype in self._types.items()}
        return tuple(self._results(feed)[name].shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == STREAM
        feed = {
            name: self._cuda.view(self._addresses[name], np.empty(self._shapes[name], dtype))
            for name, dtype in self._types.items()
        }
        for name, array in self._results(feed).items():
            self._cuda.view(self._addresses[name], array)[...] = array
        return True

    def _results(self, feed: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(self._evaluator.output_names, self._evaluator.run(None, feed), strict=True))


class TensorRT(SimpleNamespace):
    """A module whose plans are the paths of ONNX files."""

    def __init__(self, cuda: CudaRuntime, layers: list[Any]) -> None:
        inspector = SimpleNamespace(get_engine_information=lambda layout: json.dumps({"Layers": layers}))
        severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)
        super().__init__(
            __name__="tensorrt",
            __version__="11.4.0",
            ILogger=type("ILogger", (), {"Severity": severity}),
            LayerInformationFormat=SimpleNamespace(JSON=1),
            Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=self._engine),
        )
        self._cuda = cuda
        self._inspector = inspector

    def _engine(self, plan: bytes) -> Any:
        model = onnx.load(Path(plan.decode()))
        return SimpleNamespace(
            create_execution_context=lambda: Context(self._cuda, model),
            create_engine_inspector=lambda: self._inspector,
        )
