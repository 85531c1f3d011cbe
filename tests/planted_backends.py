"""Backends that misbehave on purpose, each in one way; picklable, so that a worker can have them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.backend import Boundary, Device, Executed, Query, SessionOptions
from runtime.graphs import input_specs, load, output_specs
from runtime.null import NullBackend, NullSession
from runtime.ort import OnnxRuntimeBackend
from runtime.tensors import Array, Feed

LEAKED_BYTES = 8 * 2**20
"""What the leaking backend keeps of every query."""


def abort() -> None:
    """Die as a runtime does that finds its own state broken."""
    sys.stderr.write("kernel panic: tile 7 is on fire\n")
    sys.stderr.flush()
    os.abort()


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    time.sleep(3600)


def raise_something() -> None:
    raise RuntimeError("vendor error 17")


def leave() -> None:
    os._exit(3)


@dataclass(frozen=True)
class _Planted:
    """Opens any graph, and does what it is told to when it opens and at every query."""

    name: str = "planted"
    opening: Callable[[], None] | None = None
    running: Callable[[], None] | None = None

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return "planted 1"

    def devices(self) -> tuple[Device, ...]:
        return (Device("cpu", "misbehaves"),)

    def open(self, graph: Path, device: str, options: SessionOptions) -> PlantedSession:
        if self.opening is not None:
            self.opening()
        model = load(graph)
        return PlantedSession(input_specs(model), output_specs(model), self.running)


class PlantedSession(NullSession):
    """As the null backend's, but for what it does at every query."""

    def __init__(self, inputs: object, outputs: object, running: Callable[[], None] | None) -> None:
        super().__init__(inputs, outputs)  # type: ignore[arg-type]
        self._running = running

    def _place(self, feed: Feed, boundary: Boundary) -> Query:
        return _PlantedQuery(super()._place(feed, boundary), self._running)


@dataclass(frozen=True)
class _PlantedQuery:
    query: Query
    running: Callable[[], None] | None

    def run(self) -> None:
        if self.running is not None:
            self.running()
        self.query.run()

    def outputs(self) -> dict[str, Array]:
        return self.query.outputs()


_leaked: list[Array] = []


def leak() -> None:
    """Keep memory that is really taken: every page is written."""
    _leaked.append(np.ones(LEAKED_BYTES, np.uint8))


def planted(opening: Callable[[], None] | None = None, running: Callable[[], None] | None = None) -> _Planted:
    return _Planted(opening=opening, running=running)


class CrashesAtTheEnd(NullBackend):
    """Dies when its session is closed, after everything went well."""

    def open(self, graph: Path, device: str, options: SessionOptions) -> EndingSession:
        return EndingSession(input_specs(load(graph)), output_specs(load(graph)))


class EndingSession(NullSession):
    def close(self) -> None:
        abort()


class LyingBackend(OnnxRuntimeBackend):
    """Answers with zeros, and has an excellent opinion of itself."""

    name = "lying"

    def open(self, graph: Path, device: str, options: SessionOptions) -> LyingSession:  # type: ignore[override]
        return LyingSession(input_specs(load(graph)), output_specs(load(graph)))


class LyingSession(NullSession):
    def _attest(self, feed: Feed, sizes: object) -> Executed:
        return Executed(1.0, {"float32": 1.0}, (), None, "its word of honour")
