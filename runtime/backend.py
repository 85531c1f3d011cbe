"""The contract every backend fulfils, and no more than the harness needs.

Protocols rather than base classes, so that a vendor's backend needs none of our code. Think twice
before changing one: packages outside this repository implement them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from runtime.tensors import Array, Feed, TensorSpec


class Boundary(StrEnum):
    """Where the clock starts and stops.

    DEVICE: inputs and outputs already lie in the device's memory, preallocated.
    HOST:   from arrays in host memory to arrays in host memory, allocation and copies included.
    """

    DEVICE = "device"
    HOST = "host"


HOST = "cpu"
"""The device whose memory is the machine's own."""


@dataclass(frozen=True)
class Device:
    """A place a backend can run on: `name` as given on the command line ("cpu", "cuda:0")."""

    name: str
    description: str


@dataclass(frozen=True)
class SessionOptions:
    """What the user may set; a backend refuses what it does not know rather than ignore it.

    threads: worker threads inside one query; None is the backend's own default.
    optimize: False switches graph optimisations off, for bit-exact checks.
    provider_options: backend-specific names and values, passed on as they are.
    provider: of ONNX Runtime's execution providers, by name; "": the one for the device.
    provider_library: a vendor's plug-in that brings it.
    allow_fallback: what the provider does not take may run on the CPU; it is counted and named.
    spinning: False: worker threads sleep between operators instead of waiting busily.
    """

    threads: int | None = None
    optimize: bool = True
    provider_options: Mapping[str, str] = field(default_factory=dict)
    provider: str = ""
    provider_library: Path | None = None
    allow_fallback: bool = False
    spinning: bool = True


@dataclass(frozen=True)
class Executed:
    """What really ran: the attestation of a session.

    on_device_macs: share (0..1) of multiply-accumulates that ran on the device asked for.
    macs_by_type:   data type the kernel computed in (NumPy name: "int8", "float32") to its share
                    (0..1) of multiply-accumulates; the shares add up to 1, or the mapping is empty
                    where a graph has none.
    fallback_nodes: nodes that ran anywhere else than on the device.
    on_device_nodes: share (0..1) of the runtime's operators that ran on the device.
    lowering:       name of a rewrite the backend applied before opening, or None.
    evidence:       where these facts come from ("profile of the first query").
    settings:       what the runtime was told that changes its speed or its arithmetic, in its own words.
    """

    on_device_macs: float
    macs_by_type: Mapping[str, float]
    fallback_nodes: tuple[str, ...]
    lowering: str | None
    evidence: str
    settings: Mapping[str, str] = field(default_factory=dict)
    on_device_nodes: float = 1.0


@dataclass(frozen=True)
class BuildFacts:
    """What a session says of the engine it runs (TellsBuild).

    cached:       whether it was read from a cache instead of built; None where there is no cache.
    engine_bytes: of the engine, serialised; None where nobody has serialised it.
    """

    cached: bool | None
    engine_bytes: int | None


class Query(Protocol):
    """A feed bound to a session at a boundary; run it as often as you like."""

    def run(self) -> None:
        """Compute once; returns when the outputs are complete at the boundary."""

    def outputs(self) -> dict[str, Array]:
        """The last run's outputs, as arrays in host memory that later runs do not overwrite."""


class Session(Protocol):
    """An opened graph on one device."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def bind(self, feed: Feed, boundary: Boundary) -> Query:
        """Check `feed`, place it at `boundary`, run once (so buffers exist); raises FeedError."""

    def run(self, feed: Feed) -> dict[str, Array]:
        """One query from host to host."""

    def executed(self) -> Executed:
        """What ran; callable once a query has run."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class TellsBuild(Protocol):
    """A session that compiles engines may tell of the latest one."""

    def built(self) -> BuildFacts: ...


@runtime_checkable
class ChecksOptions(Protocol):
    """A backend that can tell whether it takes options before there is a graph, which may be minutes away."""

    def check_options(self, device: str, options: SessionOptions) -> None:
        """Raises for them what `open` would, for a device that is there: UsageError, UnavailableError."""


class Backend(Protocol):
    """A runtime that opens ONNX files."""

    @property
    def name(self) -> str: ...

    def unavailable(self) -> str | None:
        """None where this backend works here; otherwise one line: what is missing and how to get it."""

    def version(self) -> str:
        """Name and version of the runtime behind it ("onnxruntime 1.32.0"); only where available."""

    def devices(self) -> tuple[Device, ...]:
        """Devices found; empty where the backend is unavailable."""

    def open(self, graph: Path, device: str, options: SessionOptions) -> Session:
        """Open an ONNX file.

        Raises UnavailableError (no such backend or device here), GraphError (a broken file),
        UnsupportedError (a sound file this backend cannot run; names the operator or type).
        """
