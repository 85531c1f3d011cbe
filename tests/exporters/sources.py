"""A source model made of an ONNX graph, whose own answer is that of ONNX's reference evaluator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from runtime.tensors import Array, Feed, TensorSpec


@dataclass(frozen=True)
class GraphSource:
    """Says `exported` in ONNX and answers as `original` does: the same graph, or a tampered one."""

    original: ir.Model
    exported: ir.Model

    @property
    def framework(self) -> str:
        return "onnx"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return _specs(self.original.graph.inputs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return _specs(self.original.graph.outputs)

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    @property
    def parameters(self) -> int:
        tensors = [value.const_value for value in self.original.graph.initializers.values()]
        return sum(math.prod(tensor.shape.numpy()) for tensor in tensors if tensor is not None)

    def to_onnx(self) -> ir.Model:
        return self.exported

    def run(self, feed: Feed) -> dict[str, Array]:
        evaluator = ReferenceEvaluator(ir.to_proto(self.original))
        return dict(zip(evaluator.output_names, evaluator.run(None, dict(feed)), strict=True))


def _specs(values: object) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            value.name,
            value.dtype.numpy().name,
            tuple(size if isinstance(size, int) else str(size) for size in value.shape),
        )
        for value in values  # type: ignore[attr-defined]
    )
