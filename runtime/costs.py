"""Multiply-accumulates of a graph's operators, by the textbook formulas.

Only what multiplies and accumulates over a reduction counts: convolutions, matrix products, recurrent
gates. Element-wise operators, pooling and softmax do not (MODELS.md 0.3 counts the same way).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx_ir as ir
from onnx_ir.passes import common

Dims = tuple[int, ...]
ShapeOf = Callable[[ir.Value | None], Dims]


class _UnknownShapeError(Exception):
    """Shape inference could not tell the shape of a tensor."""


def node_macs(model: ir.Model, dims: Mapping[str, int]) -> dict[str, int]:
    """Multiply-accumulates per node name, for nodes of the main graph that have any.

    dims: values of the open dimensions by name; one that is not given counts as 1. What a suppression
    of boxes keeps counts as the most that it may. A node whose shapes ONNX cannot infer even so is left out.
    """
    sized = model.clone()
    _fix_dims(sized.graph, dims)
    common.ShapeInferencePass()(sized)
    while sum(_bound(node) for node in sized.graph if node.op_type == "NonMaxSuppression"):
        common.ShapeInferencePass()(sized)
    counts: dict[str, int] = {}
    for node in sized.graph:
        formula = _FORMULAS.get(node.op_type)
        if formula is None:
            continue
        try:
            counts[str(node.name)] = formula(node, _shape)
        except _UnknownShapeError:
            continue
    return counts


def total_macs(model: ir.Model, dims: Mapping[str, int]) -> int:
    """The sum over node_macs."""
    return sum(node_macs(model, dims).values())


def _fix_dims(graph: ir.Graph, dims: Mapping[str, int]) -> None:
    """Write the given sizes into the inputs; forget the rest, which inference then tells anew."""
    for value in graph.inputs:
        if value.shape is not None and value.name not in graph.initializers:
            sizes = (size if isinstance(size, int) else dims.get(size.value or "", 1) for size in value.shape)
            value.shape = ir.Shape(sizes)
    for node in graph:
        for output in node.outputs:
            output.shape = None


def _bound(node: ir.Node) -> bool:
    """Give a suppression's output the most rows it may have; whether it had no such number."""
    (kept,) = node.outputs
    scores, most = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    known = kept.shape is not None and isinstance(kept.shape[0], int)
    if known or scores is None or most is None or most.const_value is None:
        return False
    try:
        batch, classes, boxes = _shape(scores)
    except _UnknownShapeError:
        return False
    rows = batch * classes * min(boxes, int(most.const_value.numpy().item()))
    kept.shape = ir.Shape([rows, 3])
    return True


def _shape(value: ir.Value | None) -> Dims:
    if value is None or value.shape is None or not all(isinstance(size, int) for size in value.shape):
        raise _UnknownShapeError
    return tuple(int(size) for size in value.shape)  # type: ignore[arg-type]  # all are whole numbers


def _convolution(node: ir.Node, shape: ShapeOf) -> int:
    return math.prod(shape(node.outputs[0])) * math.prod(shape(node.inputs[_weight(node)])[1:])


def _transposed_convolution(node: ir.Node, shape: ShapeOf) -> int:
    return math.prod(shape(node.inputs[0])) * math.prod(shape(node.inputs[1])[1:])


def _matrix_product(node: ir.Node, shape: ShapeOf) -> int:
    return math.prod(shape(node.outputs[0])) * shape(node.inputs[0])[-1]


def _general_matrix_product(node: ir.Node, shape: ShapeOf) -> int:
    inner = shape(node.inputs[0])[0 if node.attributes.get_int("transA", 0) else 1]
    return math.prod(shape(node.outputs[0])) * inner


def _recurrence(node: ir.Node, shape: ShapeOf) -> int:
    """Input weights [directions, gates x hidden, input] and recurrent ones, once a step and sequence."""
    steps, sequences = shape(node.inputs[0])[:2]
    return steps * sequences * (math.prod(shape(node.inputs[1])) + math.prod(shape(node.inputs[2])))


def _einsum(node: ir.Node, shape: ShapeOf) -> int:
    """Two operands without an ellipsis: the product over every distinct index."""
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if len(terms) != 2 or "." in equation:
        raise _UnknownShapeError
    sizes: dict[str, int] = {}
    for term, value in zip(terms, node.inputs, strict=True):
        sizes.update(zip(term, shape(value), strict=True))
    return math.prod(sizes.values())


def _weight(node: ir.Node) -> int:
    return 3 if node.op_type == "QLinearConv" else 1


_FORMULAS: Mapping[str, Callable[[ir.Node, ShapeOf], int]] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "MatMul": _matrix_product,
    "MatMulInteger": _matrix_product,
    "QLinearMatMul": _matrix_product,
    "Gemm": _general_matrix_product,
    "LSTM": _recurrence,
    "GRU": _recurrence,
    "RNN": _recurrence,
    "Einsum": _einsum,
}
"""Operator type to its count; a new operator is a line."""

MULTIPLYING = frozenset(_FORMULAS)
"""The operators that multiply and accumulate."""
