"""ONNX's own evaluator in NumPy: slow, and the oracle of what a graph means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes.common import ShapeInferencePass

from runtime.attestation import Circumstances, Ran, attest
from runtime.backend import Boundary, Device, Executed, Query, SessionOptions
from runtime.costs import node_macs
from runtime.errors import FeedError, UnsupportedError, unknown_name
from runtime.graphs import input_specs, load, output_specs
from runtime.session import CheckedSession
from runtime.tensors import Array, Feed

_NO_IMPLEMENTATION = (NotImplementedError, RuntimeError)


class ReferenceBackend:
    """Always there, since onnx is."""

    name = "reference"

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        import onnx

        return f"onnx {onnx.__version__}"

    def devices(self) -> tuple[Device, ...]:
        return (Device("cpu", "ONNX reference evaluator, in NumPy"),)

    def open(self, graph: Path, device: str, options: SessionOptions) -> ReferenceSession:
        if device != "cpu":
            raise unknown_name("device of backend reference", device, ["cpu"])
        model = load(graph)
        try:
            evaluator = ReferenceEvaluator(str(graph))
        except _NO_IMPLEMENTATION as error:
            raise _unsupported(f"open {graph}", error) from error
        return ReferenceSession(model, evaluator)


class ReferenceSession(CheckedSession):
    """Every operator runs in the type its tensors have."""

    def __init__(self, model: ir.Model, evaluator: ReferenceEvaluator) -> None:
        super().__init__(input_specs(model), output_specs(model))
        self._model = model
        self._evaluator = evaluator

    def _place(self, feed: Feed, boundary: Boundary) -> Query:
        return _ReferenceQuery(self._evaluator, dict(feed))

    def _attest(self, feed: Feed, sizes: Mapping[str, int]) -> Executed:
        ran = {node: Ran(dtype) for node, dtype in _computing_types(self._model)}
        evidence = "types of the graph's tensors; the evaluator rewrites nothing"
        macs = node_macs(self._model, sizes)
        return attest(macs, ran, Circumstances(evidence))

    def close(self) -> None:
        """Nothing is held."""


class _ReferenceQuery:
    def __init__(self, evaluator: ReferenceEvaluator, feed: dict[str, Array]) -> None:
        self._evaluator = evaluator
        self._feed = feed
        self._results: Sequence[Any] = ()

    def run(self) -> None:
        try:
            self._results = tuple(self._evaluator.run(None, self._feed))
        except (IndexError, ValueError) as error:
            raise FeedError(
                f"the graph does not accept this feed: {error}; check index ranges and shapes"
            ) from error
        except _NO_IMPLEMENTATION as error:
            raise _unsupported("run the graph", error) from error

    def outputs(self) -> dict[str, Array]:
        names = self._evaluator.output_names
        return {name: np.array(array) for name, array in zip(names, self._results, strict=True)}


def _unsupported(what: str, error: RuntimeError) -> UnsupportedError:
    line = " ".join(str(error).split())[:200]
    return UnsupportedError(f"the reference evaluator cannot {what}: {line}; use another backend")


def _computing_types(model: ir.Model) -> Iterator[tuple[str, str]]:
    typed = model.clone()
    ShapeInferencePass()(typed)
    for node in typed.graph:
        types = [value.dtype for value in node.inputs if value is not None and value.dtype is not None]
        if types:
            yield str(node.name), types[0].numpy().name
