"""A backend for aimatrix: ONNX's reference evaluator stands where your runtime would.

The contract is docs/backends.md of aimatrix. Classes need no base: what is asked for is there, or it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx.reference import ReferenceEvaluator

from runtime.backend import Boundary, Device, Executed, SessionOptions
from runtime.errors import FeedError, GraphError, UnavailableError, UnsupportedError, UsageError
from runtime.tensors import Array, Feed, TensorSpec, check_feed

_MULTIPLYING = frozenset({"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
_UNSOUND = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, DecodeError, ValueError)


class ExampleBackend:
    """What the entry point names: called without arguments it gives the backend, and holds nothing yet."""

    name = "example"

    def unavailable(self) -> str | None:
        return None  # else a line such as "no card: install the driver of example.com/driver, 4.2 or newer"

    def version(self) -> str:
        return f"example 1.0 (onnx {onnx.__version__})"

    def devices(self) -> tuple[Device, ...]:
        return (Device("cpu", "NumPy"),)

    def open(self, graph: Path, device: str, options: SessionOptions) -> ExampleSession:
        if device != "cpu":
            raise UnavailableError(f"backend example has no device {device!r}; found: cpu")
        if options.threads is not None or options.provider_options:
            raise UsageError("backend example takes neither threads nor provider options; leave them out")
        try:
            model = onnx.load(str(graph))
            onnx.checker.check_model(str(graph), full_check=True)
            typed = onnx.shape_inference.infer_shapes(model)
        except _UNSOUND as error:
            line = str(error).strip().partition("\n")[0]
            raise GraphError(f"{graph} is cut short or not sound ONNX: {line}; export it again") from error
        try:
            evaluator = ReferenceEvaluator(str(graph))
        except (NotImplementedError, RuntimeError) as error:
            line = " ".join(str(error).split())[:200]
            raise UnsupportedError(f"example cannot run {graph}: {line}; use another backend") from error
        return ExampleSession(typed, evaluator)


class ExampleSession:
    """A graph that was opened; it may be used by one thread at a time."""

    def __init__(self, model: onnx.ModelProto, evaluator: ReferenceEvaluator) -> None:
        constants = {tensor.name for tensor in model.graph.initializer}
        self.inputs = tuple(_spec(value) for value in model.graph.input if value.name not in constants)
        self.outputs = tuple(_spec(value) for value in model.graph.output)
        self._evaluator = evaluator
        self._types = _multiplied_in(model)

    def bind(self, feed: Feed, boundary: Boundary) -> ExampleQuery:
        check_feed(feed, self.inputs)
        # At Boundary.DEVICE a card's runtime copies the feed to the card here; NumPy's device is the host.
        query = ExampleQuery(self._evaluator, dict(feed))
        query.run()
        return query

    def run(self, feed: Feed) -> dict[str, Array]:
        return self.bind(feed, Boundary.HOST).outputs()

    def executed(self) -> Executed:
        """The evaluator computes in the type that tensors have; nothing is claimed that it does not tell."""
        if len(self._types) > 1:
            # How much of the work each did would have to be counted.
            return Executed(0.0, {"unknown": 1.0}, (), None, "more than one type, not weighed")
        return Executed(1.0, dict.fromkeys(self._types, 1.0), (), None, "types of the graph's tensors")

    def close(self) -> None:
        """Give back what the device holds; it may be called twice."""

    def __enter__(self) -> ExampleSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ExampleQuery:
    """A feed on its device. `run` is what is timed: nothing but the work is in it."""

    def __init__(self, evaluator: ReferenceEvaluator, feed: Mapping[str, Array]) -> None:
        self._evaluator = evaluator
        self._feed = feed
        self._results: Any = ()

    def run(self) -> None:
        try:
            self._results = self._evaluator.run(None, dict(self._feed))
        except (IndexError, ValueError) as error:
            raise FeedError(f"the graph does not accept this feed: {error}; check index ranges") from error

    def outputs(self) -> dict[str, Array]:
        """Copies, which later runs leave alone."""
        names = self._evaluator.output_names
        return {name: np.array(array) for name, array in zip(names, self._results, strict=True)}


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """As the file says: sizes are numbers, or names where the graph leaves them open."""
    tensor = value.type.tensor_type
    sizes = tensor.shape.dim
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(
        value.name,
        "str" if dtype == "object" else dtype,
        tuple(
            size.dim_value if size.HasField("dim_value") else (size.dim_param or f"{value.name}_{axis}")
            for axis, size in enumerate(sizes)
        ),
    )


def _multiplied_in(model: onnx.ModelProto) -> set[str]:
    """NumPy names of the types that the graph multiplies and accumulates in."""
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = {types.get(node.input[0], 0) for node in model.graph.node if node.op_type in _MULTIPLYING}
    return {onnx.helper.tensor_dtype_to_np_dtype(each).name if each else "unknown" for each in found}
