"""Multiply-accumulates of a graph's operators, by the textbook formulas.

Only what multiplies and accumulates over a reduction counts: convolutions, matrix products, recurrent
gates. Element-wise operators, pooling and softmax do not (MODELS.md 0.3 counts the same way).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx_ir as ir

from runtime.sizing import Dims, UnknownSizeError, size_of, with_sizes

ShapeOf = Callable[[ir.Value | None], Dims]


def node_macs(model: ir.Model, dims: Mapping[str, int]) -> dict[str, int]:
    """Multiply-accumulates per node name, for nodes of the main graph that have any.

    dims: values of the open dimensions by name (runtime.sizing). A node whose shapes ONNX cannot infer even
    so is left out. A Scan or a Loop counts what its body does, as often as it runs: a loop that the data end,
    as often as the size says that outputs alone have, if it is one.
    """
    return sized_macs(with_sizes(model, dims).graph, decided_size(model, dims))


def sized_macs(graph: ir.Graph, decided: int | None) -> dict[str, int]:
    """node_macs of a graph that runtime.sizing gave its sizes.

    decided: how often a loop runs that the data end, if that is known.
    """
    counts: dict[str, int] = {}
    for node in graph:
        try:
            macs = _macs(node, decided)
        except UnknownSizeError:
            continue
        if macs or node.op_type in MULTIPLYING:
            counts[str(node.name)] = macs
    return counts


def decided_size(model: ir.Model, dims: Mapping[str, int]) -> int | None:
    """The value of the only one of `dims` that is no input's."""
    fed = {
        size.value
        for value in model.graph.inputs
        for size in value.shape or ()
        if isinstance(size, ir.SymbolicDim)
    }
    decided = [size for name, size in dims.items() if name not in fed]
    return decided[0] if len(decided) == 1 else None


def total_macs(model: ir.Model, dims: Mapping[str, int]) -> int:
    """The sum over node_macs."""
    return sum(node_macs(model, dims).values())


def _macs(node: ir.Node, decided: int | None) -> int:
    """Raises UnknownSizeError."""
    if node.op_type in _REPEATS:
        each = sum(_macs(inner, decided) for inner in node.attributes["body"].as_graph())
        return each * _REPEATS[node.op_type](node, decided) if each else 0
    formula = _FORMULAS.get(node.op_type)
    return 0 if formula is None else formula(node, size_of)


def _scan_steps(node: ir.Node, decided: int | None) -> int:
    """The length of any sequence that it reads, along the axis that it reads it."""
    count = node.attributes.get_int("num_scan_inputs", 0)
    axes = node.attributes.get_ints("scan_input_axes", None) or [0] * count
    for value, axis in zip(node.inputs[-count:], axes, strict=True):
        steps = None if value is None or value.shape is None else value.shape[axis]
        if isinstance(steps, int):
            return steps
    raise UnknownSizeError


def _loop_steps(node: ir.Node, decided: int | None) -> int:
    """The most it may run, where that is a constant; the length of what it collects; else `decided`."""
    most = node.inputs[0]
    if most is not None and most.const_value is not None:
        return int(most.const_value.numpy().item())
    for value in node.outputs[len(node.inputs) - 2 :]:
        steps = None if value.shape is None else value.shape[0]
        if isinstance(steps, int):
            return steps
    if decided is None:
        raise UnknownSizeError
    return decided


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
        raise UnknownSizeError
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
"""The operators that multiply and accumulate, of themselves."""

_REPEATS: Mapping[str, Callable[[ir.Node, int | None], int]] = {"Loop": _loop_steps, "Scan": _scan_steps}
"""Operator type to how often it runs its body."""
