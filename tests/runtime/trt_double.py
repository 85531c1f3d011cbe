"""Stands in for the `tensorrt` module: a plan holds an ONNX file, an engine is ONNX's reference evaluator.

Names and arguments are those of the real bindings (test_trt_bindings.py); what they punish is an error here:
a tensor without address or shape, the default stream, a size that the profile leaves out.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from runtime.tensors import Array
from tests.runtime.gpu_double import CudaRuntime

ALIGNMENT = 256
PHASES = (("Building", None, 2), ("Timing", "Building", 4))

_TYPES = {"float32": "FLOAT", "float16": "HALF", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}


class TensorRT(SimpleNamespace):
    """The module.

    layers:   what every engine's inspector tells.     built: the configs of the networks that were built.
    refused:  the parser's answer for every graph, if any.     unbuildable: what the builder logs instead.
    unreadable: plans that no runtime reads.
    """

    def __init__(self, cuda: CudaRuntime, layers: list[Any], name: str = "tensorrt") -> None:
        severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)
        super().__init__(
            __name__=name,
            __version__="11.4.0",
            ILogger=type("ILogger", (), {"Severity": severity}),
            IProgressMonitor=type("IProgressMonitor", (), {}),
            IOutputAllocator=type("IOutputAllocator", (), {}),
            LayerInformationFormat=SimpleNamespace(JSON=1),
            ProfilingVerbosity=SimpleNamespace(DETAILED=2),
            BuilderFlag=SimpleNamespace(TF32="TF32"),
            MemoryPoolType=SimpleNamespace(WORKSPACE="WORKSPACE"),
            TensorLocation=SimpleNamespace(DEVICE=0, HOST=1),
            NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
            Builder=lambda logger: Builder(self, logger),
            OnnxParser=lambda network, logger: Parser(self, network),
            Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=self._read),
        )
        self.cuda = cuda
        self.layers = layers
        self.built: list[Config] = []
        self.flags: list[int] = []
        self.refused: list[Any] = []
        self.unbuildable = ""
        self.unreadable: set[bytes] = set()
        self.step: Callable[[], None] = lambda: None
        self.without_context = False
        self.on_host: set[str] = set()

    def _read(self, plan: bytes) -> Engine | None:
        return None if plan in self.unreadable else Engine(self, json.loads(plan))


class Config:
    """An IBuilderConfig."""

    def __init__(self) -> None:
        self.flags = {"TF32"}  # on by default
        self.pools: dict[str, int] = {}
        self.profiles: list[dict[str, Any]] = []
        self.profiling_verbosity = 0
        self.builder_optimization_level = 3
        self.progress_monitor: Any = None
        self.timings = b""

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.pools[pool] = size

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile.shapes)
        return 0

    def create_timing_cache(self, timings: bytes) -> Any:
        return None if timings.startswith(b"foreign") else _TimingCache(timings)

    def set_timing_cache(self, cache: _TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.timings = cache.timings
        return not cache.timings.startswith(b"old")


class _TimingCache:
    def __init__(self, timings: bytes) -> None:
        self.timings = timings

    def serialize(self) -> bytes:
        return self.timings + b"."


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:
        self.shapes[name] = (least, best, most)


class Builder:
    def __init__(self, module: TensorRT, logger: Any) -> None:
        self._module = module
        self._logger = logger

    def create_network(self, flags: int) -> Any:
        self._module.flags.append(flags)
        return SimpleNamespace(model=None, num_inputs=0, get_input=None)

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: Any, config: Config) -> bytes | None:
        self._module.built.append(config)
        if self._module.unbuildable:
            self._logger.log(1, self._module.unbuildable)
            return None
        if not self._steps(config.progress_monitor):
            self._logger.log(1, "Build canceled by user")
            return None
        plan = {"onnx": base64.b64encode(network.model).decode(), "profile": config.profiles[0]}
        return json.dumps(plan).encode()

    def _steps(self, monitor: Any) -> bool:
        going = True
        for name, parent, steps in PHASES:
            monitor.phase_start(name, parent, steps)
        for name, _, steps in reversed(PHASES):
            for step in range(steps):
                self._module.step()
                going = going and monitor.step_complete(name, step)
            monitor.phase_finish(name)
        return going


class Parser:
    def __init__(self, module: TensorRT, network: Any) -> None:
        self._module = module
        self._network = network

    @property
    def num_errors(self) -> int:
        return len(self._module.refused)

    def get_error(self, index: int) -> Any:
        return self._module.refused[index]

    def parse_from_file(self, path: str) -> bool:
        self._network.model = Path(path).read_bytes()
        return not self._module.refused


class Engine:
    """An ICudaEngine."""

    def __init__(self, module: TensorRT, plan: dict[str, Any]) -> None:
        self._module = module
        self.profile = plan["profile"]
        self.model = onnx.load_from_string(base64.b64decode(plan["onnx"]))
        read = {name for node in self.model.graph.node for name in node.input}
        kept = [value for value in self.model.graph.input if value.name in read]
        self.names: list[str] = [value.name for value in (*kept, *self.model.graph.output)]
        self.types = {
            value.name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
            for value in (*self.model.graph.input, *self.model.graph.output)
        }

    def create_execution_context(self) -> Context | None:
        return None if self._module.without_context else Context(self._module, self)

    def create_engine_inspector(self) -> Any:
        told = json.dumps({"Layers": self._module.layers, "I/O Tensors": []})
        return SimpleNamespace(get_engine_information=lambda layout: told)

    @property
    def num_io_tensors(self) -> int:
        return len(self.names)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_dtype(self, name: str) -> Any:
        """float64 becomes FLOAT, as in the real parser."""
        return SimpleNamespace(name=_TYPES.get(self.types[name].name, "FLOAT"))

    def get_tensor_location(self, name: str) -> int:
        return int(name in self._module.on_host)


class Context:
    """An IExecutionContext. A first run is needed before one can be captured: it loads what is missing."""

    def __init__(self, module: TensorRT, engine: Engine) -> None:
        self._cuda = module.cuda
        self._engine = engine
        self._evaluator = ReferenceEvaluator(engine.model)
        inputs = [value.name for value in engine.model.graph.input]
        self._inputs = [name for name in inputs if name in engine.names]
        self._dropped = [name for name in inputs if name not in engine.names]
        self._open = _open_dimensions(engine.model)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        self._ran = False

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name in self._inputs
        self._shapes[name] = shape
        least, _, most = self._engine.profile.get(name, (shape, shape, shape))
        return all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))

    def infer_shapes(self) -> list[str]:
        return [name for name in self._inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Known only once every input's is; -1 where it depends on the data."""
        feed = {name: np.zeros(self._shapes[name], self._engine.types[name]) for name in self._inputs}
        shape = self._results(feed)[name].shape
        return tuple(-1 if each else size for each, size in zip(self._open[name], shape, strict=True))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        self._allocators[name] = allocator
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert self._inputs == [name for name in self._inputs if name in self._addresses]
        assert not self._cuda.capturing(stream) or self._ran
        self._ran = True
        if not self._allocators:
            self._cuda.put(stream, self._compute)
            return True
        self._cuda.flush(stream)  # what is to be computed decides the shapes
        return self._compute_growing(stream)

    def _compute(self) -> None:
        for name, array in self._results(self._feed()).items():
            self._cuda.view(self._addresses[name], array)[...] = array

    def _compute_growing(self, stream: int) -> bool:
        for name, array in self._results(self._feed()).items():
            allocator = self._allocators.get(name)
            if allocator is not None:
                current = self._addresses.get(name, 0)
                address = allocator.reallocate_output_async(name, current, array.nbytes, ALIGNMENT, stream)
                if not address:
                    return False
                self._addresses[name] = address
                allocator.notify_shape(name, array.shape)
            self._cuda.view(self._addresses[name], array)[...] = array
        return True

    def _feed(self) -> dict[str, Array]:
        return {
            name: self._cuda.view(
                self._addresses[name], np.empty(self._shapes[name], self._engine.types[name])
            )
            for name in self._inputs
        }

    def _results(self, feed: dict[str, Array]) -> dict[str, Array]:
        feed.update({name: np.empty(0) for name in self._dropped})  # nothing reads it
        return dict(zip(self._evaluator.output_names, self._evaluator.run(None, feed), strict=True))


def _open_dimensions(model: onnx.ModelProto) -> dict[str, list[bool]]:
    """Of each output: which dimensions have a name that no input has."""
    known = {size.dim_param for value in model.graph.input for size in value.type.tensor_type.shape.dim}
    return {
        value.name: [
            bool(size.dim_param) and size.dim_param not in known for size in value.type.tensor_type.shape.dim
        ]
        for value in model.graph.output
    }


def install(monkeypatch: pytest.MonkeyPatch, home: Path, layers: list[Any]) -> TensorRT:
    """A machine with two GPUs, TensorRT and cuda-bindings, all of them doubles, and a store of its own."""
    runtime = CudaRuntime()
    module = TensorRT(runtime, layers)
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = runtime  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    monkeypatch.setattr("runtime.cuda.device_names", lambda: ("H200", "L40S"))
    monkeypatch.setattr("runtime.cuda.compute_capability", lambda index: ("9.0", "8.9")[index])
    monkeypatch.setattr("runtime.cuda.driver_version", lambda: "580.82.07 (CUDA 13.0)")
    monkeypatch.setattr("runtime.cuda.make_current", runtime.devices.append)
    monkeypatch.setenv("AIMATRIX_HOME", str(home))
    return module
