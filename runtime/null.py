"""A backend that computes nothing, to measure what the harness itself costs and to test its loop exactly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from runtime.backend import Boundary, Device, Executed, Query, SessionOptions
from runtime.errors import unknown_name
from runtime.graphs import input_specs, load, output_specs
from runtime.session import CheckedSession
from runtime.tensors import Array, Feed, TensorSpec, open_dimensions


class NullBackend:
    """Always there; opens any sound file for its input and output specs."""

    name = "null"

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return "null 1"

    def devices(self) -> tuple[Device, ...]:
        return (Device("cpu", "computes nothing"),)

    def open(self, graph: Path, device: str, options: SessionOptions) -> NullSession:
        if device != "cpu":
            raise unknown_name("device of backend null", device, ["cpu"])
        model = load(graph)
        return NullSession(input_specs(model), output_specs(model))


class NullSession(CheckedSession):
    """Its outputs are zeros; an open dimension is the feed's, or 1 where the feed does not name it."""

    def _place(self, feed: Feed, boundary: Boundary) -> Query:
        sizes = open_dimensions(self.inputs, feed)
        return _NullQuery({spec.name: _zeros(spec, sizes) for spec in self.outputs})

    def _attest(self, feed: Feed, sizes: Mapping[str, int]) -> Executed:
        return Executed(0.0, {}, (), None, "nothing runs")

    def close(self) -> None:
        """Nothing is held."""


class _NullQuery:
    def __init__(self, outputs: dict[str, Array]) -> None:
        self._outputs = outputs

    def run(self) -> None:
        """Return at once."""

    def outputs(self) -> dict[str, Array]:
        return {name: array.copy() for name, array in self._outputs.items()}


def _zeros(spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
    shape = tuple(size if isinstance(size, int) else sizes.get(size, 1) for size in spec.shape)
    return np.zeros(shape, np.dtype(spec.dtype))
