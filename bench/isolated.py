"""A session in a worker process: the same answers, and its crash or hang ends nothing but itself.

Measuring, too, happens in the worker, so that the clock never sees the way there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Limits
from bench.opened import Bound, Measurement, Opened, open_here
from bench.record import BuildRecord
from runtime.backend import Backend, Boundary, Executed, SessionOptions
from runtime.isolation import Remote, Worker, telling
from runtime.tensors import Array, Feed
from runtime.trt_progress import showing


@contextmanager
def opened_apart(
    backend: Backend,
    graph: Path,
    device: str,
    options: SessionOptions,
    limit_seconds: float,
    listen: Callable[[str], None] | None = None,
) -> Iterator[IsolatedSession]:
    """`graph` in a session of a process of its own.

    limit_seconds: of each step.     listen: is told how far a long build is.
    Raises what Backend.open raises, CrashedError and TimedOutError.
    """
    what = f"backend {backend.name} with {graph.parent.name}/{graph.name}"
    with Worker(limit_seconds, listen) as worker:
        session = worker.keep(f"{what}: opening", _open_telling, backend, graph, device, options)
        yield IsolatedSession(worker, session, what)
        worker.call(f"{what}: closing", Opened.close, session)


@dataclass(frozen=True)
class IsolatedSession:
    """As bench.opened.Opened, which it has in the worker."""

    worker: Worker
    session: Remote[Opened]
    what: str

    def bind(self, feed: Feed, boundary: Boundary) -> IsolatedQuery:
        bound = self.worker.keep(f"{self.what}: first query", _bind_telling, self.session, feed, boundary)
        build = self.worker.call(f"{self.what}: first query", _build_of, bound)
        return IsolatedQuery(self, bound, build)

    def run(self, feed: Feed) -> dict[str, Array]:
        return self.worker.call(f"{self.what}: a query", Opened.run, self.session, feed)

    def executed(self) -> Executed:
        return self.worker.call(f"{self.what}: telling what executed", Opened.executed, self.session)


@dataclass(frozen=True)
class IsolatedQuery:
    """As bench.opened.Bound, which it has in the worker."""

    ready: IsolatedSession
    bound: Remote[Bound]
    build: BuildRecord

    def measure(self, limits: Limits) -> Measurement:
        return self.ready.worker.call(f"{self.ready.what}: measuring", Bound.measure, self.bound, limits)

    def once(self) -> int:
        return self.ready.worker.call(f"{self.ready.what}: a query", Bound.once, self.bound)


def _open_telling(backend: Backend, graph: Path, device: str, options: SessionOptions) -> Opened:
    with showing(telling):
        return open_here(backend, graph, device, options)


def _bind_telling(session: Opened, feed: Feed, boundary: Boundary) -> Bound:
    with showing(telling):
        return session.bind(feed, boundary)


def _build_of(bound: Bound) -> BuildRecord:
    return bound.build
