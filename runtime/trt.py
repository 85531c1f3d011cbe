"""TensorRT and TensorRT-RTX, on an NVIDIA GPU.

NOTE: the path behind `open` has not run on a GPU yet. It is written after the API of TensorRT 10.13 to
11.4 and RTX 1.7, held against the real bindings, and run on doubles of the packages that keep the calls.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from runtime import cuda, cuda_apis, trt_layers
from runtime.attestation import Circumstances, attest
from runtime.backend import Boundary, BuildFacts, Device, Executed, SessionOptions
from runtime.costs import node_macs
from runtime.cuda_api import CudaApi
from runtime.cuda_apis import CUDA_APIS
from runtime.cuda_memory import Stream
from runtime.errors import UnavailableError, UsageError, unknown_name
from runtime.graphs import input_specs, load, output_specs
from runtime.session import CheckedSession
from runtime.tensors import Array, Feed, check_feed, open_dimensions
from runtime.trt_cache import Target
from runtime.trt_engine import Engine, Engines, check_types, inputs_of
from runtime.trt_library import RTX, TENSORRT, Library, library, missing
from runtime.trt_options import TensorRTOptions, check_dimensions, parse_options
from runtime.trt_query import Bound, DeviceQuery, HostQuery, Tensors

_NAMES = {TENSORRT: "trt", RTX: "trt-rtx"}

_RTX_CAPABILITIES = frozenset({"7.5", "8.0", "8.6", "8.9"})
_RTX_FROM = 12
"""Compute capabilities that TensorRT-RTX 1.7's libraries know, and the major number from which all are:
data-centre Hopper and Blackwell (9.0, 10.x) are not among them."""


class TensorRTBackend:
    """The `trt` backend, or `trt-rtx`. What is missing is found out before TensorRT is touched."""

    def __init__(self, flavour: str = TENSORRT) -> None:
        self.name = _NAMES[flavour]
        self._flavour = flavour

    def unavailable(self) -> str | None:
        reason = cuda.missing() or missing(self._flavour) or _without_adapter()
        if reason is None and not self.devices():
            return (
                f"{self._flavour} runs on none of the GPUs here ({', '.join(cuda.device_names())}): it takes"
                f" compute capabilities {', '.join(sorted(_RTX_CAPABILITIES))} and {_RTX_FROM}.0 on; use"
                " backend trt"
            )
        return reason

    def version(self) -> str:
        return f"{self._flavour} {importlib.import_module(self._flavour).__version__}"

    def devices(self) -> tuple[Device, ...]:
        if cuda.missing() or missing(self._flavour) or _without_adapter():
            return ()
        return tuple(
            Device(f"cuda:{index}", name)
            for index, name in enumerate(cuda.device_names())
            if self._flavour != RTX or _runs_rtx(cuda.compute_capability(index))
        )

    def check_options(self, device: str, options: SessionOptions) -> None:
        """See runtime.backend.ChecksOptions."""
        parse_options(options, self.name)

    def open(self, graph: Path, device: str, options: SessionOptions) -> TensorRTSession:
        reason = self.unavailable()
        if reason:
            raise UnavailableError(reason)
        found = [entry.name for entry in self.devices()]
        if device not in found:
            raise unknown_name(f"device of backend {self.name}", device, found)
        chosen = _with_adapter(parse_options(options, self.name))
        adapter = CUDA_APIS[str(chosen.cuda_api)]()
        place = Place(library(self._flavour), adapter, int(device.partition(":")[2]))
        model = load(graph)
        check_dimensions(chosen.ranges, input_specs(model))
        place.cuda.use(place.device)
        return TensorRTSession(graph, model, place, chosen)


@dataclass(frozen=True)
class Place:
    """What a session runs with, and where. device: number of the GPU."""

    trt: Library
    cuda: CudaApi
    device: int

    def target(self) -> Target:
        gpu, capability = cuda.device_names()[self.device], cuda.compute_capability(self.device)
        return Target(self.trt.title, gpu, capability, cuda.driver_version())


class TensorRTSession(CheckedSession):
    """Has an engine for each set of sizes of the open dimensions, or one for all that options say."""

    def __init__(self, graph: Path, model: ir.Model, place: Place, options: TensorRTOptions) -> None:
        super().__init__(input_specs(model), output_specs(model))
        self._model = model
        self._place_of_work = place
        self._options = options
        self._engines = Engines(place.trt, graph, place.target(), place.device, options)
        self._without_graph: list[str] = []
        self._last: HostQuery | None = None
        self._last_shapes: dict[str, tuple[int, ...]] = {}

    def run(self, feed: Feed) -> dict[str, Array]:
        """One query from host to host; one of the last one's shapes takes its place in memory."""
        check_feed(feed, self.inputs)
        shapes = {name: array.shape for name, array in feed.items()}
        if self._last is None or shapes != self._last_shapes:
            self._last = None  # its memory first
            self._last = self._host_query(feed)
            self._last_shapes = shapes
        self._last.use(feed)
        self._first_run(self._last, feed)
        return self._last.outputs()

    def executed(self) -> Executed:
        """Its settings tell which queries have no CUDA graph where they should, and why."""
        told = self._options.told()
        if self._without_graph:
            told["cuda_graph"] += f", but for some queries: {'; '.join(dict.fromkeys(self._without_graph))}"
        return replace(super().executed(), settings=told)

    def built(self) -> BuildFacts:
        """Of the engine made or read last; see runtime.backend.TellsBuild."""
        engine = self._engines.latest
        if engine is None:
            raise UsageError(
                "an engine is built when a feed first asks for its sizes; call bind or run first"
            )
        return BuildFacts(cached=engine.kept, engine_bytes=engine.size)

    def close(self) -> None:
        self._last = None
        self._engines.close()

    def _place(self, feed: Feed, boundary: Boundary) -> DeviceQuery:
        return self._host_query(feed) if boundary is Boundary.HOST else self._device_query(feed)

    def _host_query(self, feed: Feed) -> HostQuery:
        query = HostQuery(self._bound(feed), feed)
        self._capture(query)
        return query

    def _device_query(self, feed: Feed) -> DeviceQuery:
        query = DeviceQuery(self._bound(feed), feed)
        self._capture(query)
        return query

    def _bound(self, feed: Feed) -> Bound:
        place = self._place_of_work
        stream = Stream(place.cuda, place.device)
        engine = self._engine_for(feed).handle
        check_types(engine, self.outputs)
        tensors = Tensors(inputs_of(engine, self.inputs), self.outputs)
        return Bound(place.trt, engine, stream, tensors, feed)

    def _capture(self, query: DeviceQuery) -> None:
        reason = query.capture() if self._options.cuda_graph else None
        if reason is not None:
            self._without_graph.append(reason)

    def _engine_for(self, feed: Feed) -> Engine:
        return self._engines.engine(self.inputs, open_dimensions(self.inputs, feed))

    def _attest(self, feed: Feed, sizes: Mapping[str, int]) -> Executed:
        engine = self._engine_for(feed)
        macs = node_macs(self._model, sizes)
        evidence = trt_layers.EVIDENCE + (trt_layers.OF_A_KEPT_PLAN if engine.kept else "")
        return attest(macs, trt_layers.where_nodes_ran(engine.layers, macs), Circumstances(evidence))


def _runs_rtx(capability: str) -> bool:
    return capability in _RTX_CAPABILITIES or int(capability.partition(".")[0]) >= _RTX_FROM


def _without_adapter() -> str | None:
    """Why none of CUDA's adapters is here: what the first one lacks; None where there is one."""
    reasons = [cuda_apis.missing(name) for name in CUDA_APIS]
    return reasons[0] if all(reasons) else None


def _with_adapter(options: TensorRTOptions) -> TensorRTOptions:
    """With the one asked for, or the first that is here; raises UnavailableError."""
    name = options.cuda_api or next(name for name in CUDA_APIS if cuda_apis.missing(name) is None)
    reason = cuda_apis.missing(name)
    if reason:
        raise UnavailableError(reason)
    return replace(options, cuda_api=name)
