"""Backends that answer wrongly in one way each; picklable, so that a worker can have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from runtime.backend import Boundary, Device, Executed, Query, SessionOptions
from runtime.errors import UnsupportedError
from runtime.ort import OnnxRuntimeBackend
from runtime.session import CheckedSession
from runtime.tensors import Array, Feed, TensorSpec

Change = Callable[[Array], Array]


def as_they_are(array: Array) -> Array:
    return array


def as_zeros(array: Array) -> Array:
    return np.zeros_like(array)


def as_one_number(array: Array) -> Array:
    return np.full_like(array, 7)


def with_a_nan(array: Array) -> Array:
    spoilt = array.copy()
    spoilt.flat[0] = np.nan
    return spoilt


def a_tenth_off(array: Array) -> Array:
    return array * np.float32(1.1)


@dataclass(frozen=True)
class Planted:
    """ONNX Runtime, but for one thing.

    instead:  a file that is opened whichever is asked for.
    change:   made to every output.
    shares:   attested instead of what ran, where anything multiplies.
    refuses:  graphs whose file's name holds this.
    """

    name: str = "planted"
    instead: Path | None = None
    change: Change = as_they_are
    shares: Mapping[str, float] = field(default_factory=dict)
    refuses: str = "nothing is refused"

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return "planted 1"

    def devices(self) -> tuple[Device, ...]:
        return (Device("cpu", "answers wrongly"),)

    def open(self, graph: Path, device: str, options: SessionOptions) -> PlantedSession:
        if self.refuses in graph.name:
            raise UnsupportedError(f"planted has no kernel for {graph.name}; use another backend")
        session = OnnxRuntimeBackend().open(self.instead or graph, "cpu", options)
        return PlantedSession(session, self)


@dataclass(frozen=True)
class PlantedSession:
    session: CheckedSession
    backend: Planted

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.session.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.session.outputs

    def bind(self, feed: Feed, boundary: Boundary) -> Query:
        return self.session.bind(feed, boundary)

    def run(self, feed: Feed) -> dict[str, Array]:
        return {name: self.backend.change(array) for name, array in self.session.run(feed).items()}

    def executed(self) -> Executed:
        honest = self.session.executed().macs_by_type
        shares = self.backend.shares if honest and self.backend.shares else honest
        return Executed(1.0, shares, (), None, "its word of honour")

    def __enter__(self) -> PlantedSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.session.close()
