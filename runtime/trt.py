"""TensorRT, on an NVIDIA GPU.

NOTE: the path behind `open` has not run on a GPU yet. It is written after the API of TensorRT 10.13 to
11.4 and tested against doubles of the `tensorrt` and `cuda` modules that keep the calls.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from runtime import cuda, trt_layers
from runtime.attestation import Circumstances, attest
from runtime.backend import Boundary, Device, Executed, Query, SessionOptions
from runtime.costs import node_macs
from runtime.cuda_memory import Buffer, Stream
from runtime.errors import FeedError, UnavailableError, UnsupportedError, UsageError, unknown_name
from runtime.graphs import input_specs, load, output_specs
from runtime.session import CheckedSession
from runtime.tensors import Array, Feed, TensorSpec, open_dimensions
from runtime.trt_plan import build_plan, make_logger, missing

_FLAVOUR = "tensorrt"


class TensorRTBackend:
    """The `trt` backend. Everything that is missing is found out before TensorRT is touched."""

    name = "trt"

    def unavailable(self) -> str | None:
        return missing(_FLAVOUR) or _without_cuda_bindings()

    def version(self) -> str:
        return f"tensorrt {importlib.import_module(_FLAVOUR).__version__}"

    def devices(self) -> tuple[Device, ...]:
        if self.unavailable():
            return ()
        return tuple(Device(f"cuda:{index}", name) for index, name in enumerate(cuda.device_names()))

    def open(self, graph: Path, device: str, options: SessionOptions) -> TensorRTSession:
        reason = self.unavailable()
        if reason:
            raise UnavailableError(reason)
        found = [entry.name for entry in self.devices()]
        if device not in found:
            raise unknown_name("device of backend trt", device, found)
        _refuse_unknown(options)
        return TensorRTSession(graph, load(graph), Stream(found.index(device)))


class TensorRTSession(CheckedSession):
    """Builds one engine for each set of sizes of the open dimensions, tuned for exactly these."""

    def __init__(self, graph: Path, model: ir.Model, stream: Stream) -> None:
        super().__init__(input_specs(model), output_specs(model))
        self._graph = graph
        self._model = model
        self._stream = stream
        self._trt = importlib.import_module(_FLAVOUR)
        self._logger = make_logger(self._trt)
        self._runtime = self._trt.Runtime(self._logger)
        self._engines: dict[tuple[tuple[str, int], ...], Any] = {}

    def _place(self, feed: Feed, boundary: Boundary) -> Query:
        context = self._engine_for(feed).create_execution_context()
        if context is None:
            raise UnsupportedError(
                f"tensorrt makes no execution context: {self._logger.told()}; use a smaller batch"
            )
        place = _HostQuery if boundary is Boundary.HOST else _DeviceQuery
        return place(context, self._stream, feed, self.outputs)

    def close(self) -> None:
        self._engines.clear()
        self._runtime = None

    def _engine_for(self, feed: Feed) -> Any:
        sizes = open_dimensions(self.inputs, feed)
        key = tuple(sorted(sizes.items()))
        if key not in self._engines:
            engine = self._runtime.deserialize_cuda_engine(build_plan(self._graph, _FLAVOUR, sizes))
            if engine is None:
                raise UnsupportedError(f"tensorrt does not read its own plan: {self._logger.told()}")
            self._engines[key] = engine
        return self._engines[key]

    def _attest(self, feed: Feed, sizes: Mapping[str, int]) -> Executed:
        inspector = self._engine_for(feed).create_engine_inspector()
        told = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        macs = node_macs(self._model, sizes)
        ran = trt_layers.where_nodes_ran(told, macs)
        return attest(macs, ran, Circumstances(trt_layers.EVIDENCE))


class _DeviceQuery:
    """Inputs and outputs in device memory, at the same addresses at every run."""

    def __init__(self, context: Any, stream: Stream, feed: Feed, outputs: tuple[TensorSpec, ...]) -> None:
        self._context = context
        self._stream = stream
        self._feed = {name: np.ascontiguousarray(array) for name, array in feed.items()}
        self._inputs = {name: self._place_input(name, array) for name, array in self._feed.items()}
        self._outputs = {spec.name: self._place_output(spec) for spec in outputs}
        stream.wait()

    def run(self) -> None:
        self._enqueue()
        self._stream.wait()

    def outputs(self) -> dict[str, Array]:
        return self._download()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise FeedError("tensorrt did not accept the query; check index ranges and shapes of the feed")

    def _download(self) -> dict[str, Array]:
        arrays = {name: np.empty_like(like) for name, (like, _) in self._outputs.items()}
        for name, array in arrays.items():
            self._stream.download(array, self._outputs[name][1])
        self._stream.wait()
        return arrays

    def _place_input(self, name: str, array: Array) -> Buffer:
        buffer = self._stream.allocate(array.nbytes)
        self._context.set_input_shape(name, array.shape)
        self._context.set_tensor_address(name, buffer.pointer)
        self._stream.upload(buffer, array)
        return buffer

    def _place_output(self, spec: TensorSpec) -> tuple[Array, Buffer]:
        shape = tuple(self._context.get_tensor_shape(spec.name))
        if min(shape, default=0) < 0:
            raise UnsupportedError(
                f"the shape of output {spec} depends on data, which backend trt cannot run yet"
            )
        like = np.empty(shape, np.dtype(spec.dtype))
        buffer = self._stream.allocate(like.nbytes)
        self._context.set_tensor_address(spec.name, buffer.pointer)
        return like, buffer


class _HostQuery(_DeviceQuery):
    """From NumPy arrays to NumPy arrays, in memory as NumPy allocates it."""

    _results: dict[str, Array]

    def run(self) -> None:
        for name, array in self._feed.items():
            self._stream.upload(self._inputs[name], array)
        self._enqueue()
        self._results = self._download()

    def outputs(self) -> dict[str, Array]:
        return dict(self._results)


def _without_cuda_bindings() -> str | None:
    try:
        importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        return "cuda-bindings is not installed: pip install '.[trt]' in the clone"
    return None


def _refuse_unknown(options: SessionOptions) -> None:
    if options.threads is not None or not options.optimize or options.provider_options:
        raise UsageError(
            f"backend trt takes no threads, no optimize=False and no provider options, got {options};"
            " leave them out"
        )
