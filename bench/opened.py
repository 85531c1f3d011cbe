"""A session of this process with what opening it took, and the contract of one in any process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.environment import LoadMark, PeakMemory, resident_bytes, used_device_bytes
from bench.measure import Limits, Samples, measure
from bench.record import BuildRecord
from runtime.backend import Backend, Boundary, Executed, Query, Session, SessionOptions, TellsBuild
from runtime.tensors import Array, Feed


@dataclass(frozen=True)
class Measurement:
    """Raw samples, and the share (0..1) of the processors that other programs took meanwhile, if known.

    grown_bytes: how much more memory the process held at the end than at the beginning.
    """

    samples: Samples
    others: float | None
    grown_bytes: int


@dataclass(frozen=True)
class Bound:
    """A feed bound to an opened graph, and what opening and binding took together."""

    query: Query
    build: BuildRecord

    def measure(self, limits: Limits) -> Measurement:
        mark, before = LoadMark.now(), resident_bytes()
        samples = measure(self.query.run, limits)
        return Measurement(samples, LoadMark.now().others_since(mark), resident_bytes() - before)

    def once(self) -> int:
        """Nanoseconds that one query takes."""
        began = time.perf_counter_ns()
        self.query.run()
        return time.perf_counter_ns() - began


@dataclass(frozen=True)
class Opened:
    """A session; `seconds` and the bytes are of its opening alone.

    used_before: bytes of the device's memory that were in use before it, where that can be known.
    """

    session: Session
    seconds: float
    peak_bytes: int
    held_bytes: int
    device: str
    used_before: int | None

    def bind(self, feed: Feed, boundary: Boundary) -> Bound:
        """Bind `feed`, and tell what opening and binding took together.

        NOTE: backends differ in where they compile: ONNX Runtime when it opens, OpenVINO when it
        first sees a shape. Only the sum of both can be compared.
        """
        memory, began = PeakMemory(), time.perf_counter()
        query = self.session.bind(feed, boundary)
        seconds = self.seconds + time.perf_counter() - began
        peak = max(self.peak_bytes, self.held_bytes + memory.rise_bytes())
        return Bound(query, self._build(seconds, peak))

    def _build(self, seconds: float, peak_bytes: int) -> BuildRecord:
        facts = self.session.built() if isinstance(self.session, TellsBuild) else None
        used = used_device_bytes(self.device)
        return BuildRecord(
            seconds=seconds,
            peak_rss_bytes=peak_bytes,
            device_bytes=None if used is None or self.used_before is None else used - self.used_before,
            cached=facts.cached if facts else None,
            engine_bytes=facts.engine_bytes if facts else None,
        )

    def run(self, feed: Feed) -> dict[str, Array]:
        return self.session.run(feed)

    def executed(self) -> Executed:
        return self.session.executed()

    def close(self) -> None:
        self.session.close()


class Ready(Protocol):
    """An opened graph, wherever its session lives (Opened, bench.isolated)."""

    def bind(self, feed: Feed, boundary: Boundary) -> ReadyQuery: ...

    def run(self, feed: Feed) -> dict[str, Array]: ...

    def executed(self) -> Executed: ...


class ReadyQuery(Protocol):
    """A feed bound to it (Bound, bench.isolated)."""

    @property
    def build(self) -> BuildRecord: ...

    def measure(self, limits: Limits) -> Measurement: ...

    def once(self) -> int: ...


def open_here(backend: Backend, graph: Path, device: str, options: SessionOptions) -> Opened:
    """`graph` in a session of this process; raises what Backend.open raises."""
    used = used_device_bytes(device)
    memory, began = PeakMemory(), time.perf_counter()
    session = backend.open(graph, device, options)
    seconds = time.perf_counter() - began
    return Opened(session, seconds, memory.rise_bytes(), memory.held_bytes(), device, used)
