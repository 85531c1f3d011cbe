"""Opens a graph on a backend and binds feeds to it, and tells what that took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.environment import PeakMemory
from bench.record import BuildRecord
from bench.store import StoredGraph
from runtime.backend import HOST, Backend, Boundary, Device, Query, Session, SessionOptions
from runtime.backends import get_backend
from runtime.errors import UnavailableError, unknown_name
from runtime.memory import MemoryEstimate, check_memory
from runtime.tensors import Feed


def usable_backend(name: str, devices: Iterable[str]) -> tuple[Backend, dict[str, Device]]:
    """The backend, and its devices by name, if it works here and has those: found out before a long build.

    Raises UnavailableError, and UsageError for an unknown backend or device.
    """
    backend = get_backend(name)
    reason = backend.unavailable()
    if reason is not None:
        raise UnavailableError(f"backend {name!r} is not available here: {reason}")
    found = {device.name: device for device in backend.devices()}
    for device in devices:
        if device not in found:
            raise unknown_name(f"device of {name}", device, found)
    return backend, found


def check_fits(graphs: Iterable[StoredGraph], device: str, batch_size: int, what: str) -> None:
    """Raises UnsupportedError where the graphs do not fit into the machine's memory together."""
    known = [graph.entry.memory for graph in graphs if graph.entry.memory is not None]
    if device == HOST and known:
        needs = [MemoryEstimate(facts.fixed, facts.per_sample) for facts in known]
        check_memory(sum(needs[1:], needs[0]), batch_size, what)


@dataclass(frozen=True)
class Opened:
    """A graph and the session it was opened in; `seconds` and the bytes are of the opening alone."""

    graph: StoredGraph
    session: Session
    seconds: float
    peak_bytes: int
    held_bytes: int

    def bind(self, feed: Feed, boundary: Boundary) -> tuple[Query, BuildRecord]:
        """Bind `feed`, and tell what opening and binding took together.

        NOTE: backends differ in where they compile: ONNX Runtime when it opens, OpenVINO when it
        first sees a shape. Only the sum of both can be compared.
        """
        memory, began = PeakMemory(), time.perf_counter()
        query = self.session.bind(feed, boundary)
        seconds = self.seconds + time.perf_counter() - began
        peak = max(self.peak_bytes, self.held_bytes + memory.rise_bytes())
        return query, BuildRecord(seconds=seconds, peak_rss_bytes=peak)


@contextmanager
def opened(backend: Backend, graph: StoredGraph, device: str, options: SessionOptions) -> Iterator[Opened]:
    """`graph` in a session; raises what Backend.open raises."""
    memory, began = PeakMemory(), time.perf_counter()
    with backend.open(graph.path, device, options) as session:
        seconds = time.perf_counter() - began
        yield Opened(graph, session, seconds, memory.rise_bytes(), memory.held_bytes())
