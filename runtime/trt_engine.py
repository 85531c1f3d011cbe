"""Engines of one graph on one device: read from the store, or built and kept there with their layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import UnsupportedError
from runtime.graphs import graph_digest
from runtime.tensors import TensorSpec
from runtime.trt_cache import (
    LAYERS,
    PLAN,
    TIMINGS,
    Facts,
    PlanKey,
    Target,
    TimingKey,
    locked_entry,
    read_entry,
    write_entry,
)
from runtime.trt_library import Library
from runtime.trt_options import TensorRTOptions
from runtime.trt_plan import Request, build
from runtime.trt_profile import Profile, check_sizes, make_profile

_NUMPY_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
    "FP8": "float8_e4m3fn",
    "INT4": "int4",
}
"""TensorRT's names of data types, as NumPy's."""


@dataclass(frozen=True)
class Engine:
    """A deserialised plan.

    handle: an ICudaEngine.     layers: the engine inspector's JSON.     kept: whether it was built before.
    size:   of the plan, in bytes.
    """

    handle: Any
    layers: str
    kept: bool
    size: int


class Engines:
    """Each engine is read or built once, when a feed first asks for its sizes."""

    def __init__(
        self, trt: Library, graph: Path, target: Target, device: int, options: TensorRTOptions
    ) -> None:
        self._trt = trt
        self._graph = graph
        self._digest = graph_digest(graph)
        self._target = target
        self._device = device
        self._options = options
        self._runtime = trt.module.Runtime(trt.logger)
        self._engines: dict[Profile, Engine] = {}
        self.latest: Engine | None = None

    def engine(self, specs: tuple[TensorSpec, ...], sizes: Mapping[str, int]) -> Engine:
        """The one for these sizes of the open dimensions of `specs`, the inputs.

        Raises FeedError (sizes left out by profile options), UnavailableError, UnsupportedError, StoreError.
        """
        check_sizes(sizes, self._options.ranges)
        profile = make_profile(specs, sizes, self._options.ranges)
        if profile not in self._engines:
            self.latest = self._engines[profile] = self._stored(profile) or self._built_alone(profile)
        return self._engines[profile]

    def close(self) -> None:
        self._engines.clear()
        self._runtime = None

    def _facts(self, profile: Profile) -> Facts:
        return PlanKey(self._digest, profile, self._options.build, self._target).facts()

    def _stored(self, profile: Profile) -> Engine | None:
        """None also for a plan that TensorRT does not read: it is built anew."""
        contents = read_entry(self._facts(profile))
        if contents is None or not {PLAN, LAYERS} <= contents.keys():
            return None
        handle = self._runtime.deserialize_cuda_engine(contents[PLAN])
        if handle is None:
            return None
        return Engine(handle, contents[LAYERS].decode(), kept=True, size=len(contents[PLAN]))

    def _built_alone(self, profile: Profile) -> Engine:
        """Of two processes that want the same engine, one builds it."""
        with locked_entry(self._facts(profile)):
            return self._stored(profile) or self._built(profile)

    def _built(self, profile: Profile) -> Engine:
        timings = self._timings()
        request = Request(self._graph, profile, self._options.build, timings, self._device)
        built = build(self._trt, request)
        handle = self._runtime.deserialize_cuda_engine(built.plan)
        if handle is None:
            raise UnsupportedError(
                f"{self._trt.title} does not read its own plan on {self._target.gpu}:"
                f" {self._trt.logger.told()}; see which GPUs it supports, or use another backend"
            )
        layers = self._inspected(handle)
        write_entry(self._facts(profile), {PLAN: built.plan, LAYERS: layers.encode()})
        if built.timings is not None:
            self._keep_timings(timings, built.timings)
        return Engine(handle, layers, kept=False, size=len(built.plan))

    def _inspected(self, handle: Any) -> str:
        layout = self._trt.module.LayerInformationFormat.JSON
        return str(handle.create_engine_inspector().get_engine_information(layout))

    def _timings(self) -> bytes:
        return (read_entry(TimingKey(self._target).facts()) or {}).get(TIMINGS, b"")

    def _keep_timings(self, before: bytes, after: bytes) -> None:
        """Unless another process kept some meanwhile: those of this build are then measured again."""
        facts = TimingKey(self._target).facts()
        with locked_entry(facts):
            if self._timings() == before:
                write_entry(facts, {TIMINGS: after})


def inputs_of(engine: Any, specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Those of a graph's inputs that an engine has: it may have dropped one that nothing reads.

    Raises UnsupportedError where it reads another type than the graph says: TensorRT's parser narrows
    float64 to float32 with no more than a warning.
    """
    names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    found = tuple(spec for spec in specs if spec.name in names)
    check_types(engine, found)
    return found


def check_types(engine: Any, specs: tuple[TensorSpec, ...]) -> None:
    """Raises UnsupportedError where an engine reads or writes other types than the graph says."""
    for spec in specs:
        name = engine.get_tensor_dtype(spec.name).name
        if _NUMPY_TYPES.get(name, name) != spec.dtype:
            raise UnsupportedError(
                f"tensorrt makes {spec} a tensor of type {name}: cast it inside the graph, or use another"
                " backend"
            )
