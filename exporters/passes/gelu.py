"""The Gaussian error linear unit written out, as one operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from exporters.passes.graph import bypass, constant, make_node
from runtime.tensors import Array

TOLERANCE = 2e-6
"""Absolute, on inputs of -6..6: constants rounded to float32 move the result by 2e-7; the two
definitions of Gelu differ by 4.7e-4."""

MAX_NODES = 16
"""Longest way of writing Gelu that is looked at; Google's BERT takes 9 operators."""

_GRID = np.linspace(-6.0, 6.0, 97)
_erf = np.vectorize(math.erf, otypes=[np.float64])

_ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Neg": np.negative,
    "Tanh": np.tanh,
    "Erf": _erf,
}

_DEFINITIONS: Mapping[str, tuple[str, Array]] = {
    "Tanh": ("tanh", _GRID / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (_GRID + 0.044715 * _GRID**3)))),
    "Erf": ("none", _GRID / 2 * (1 + _erf(_GRID / math.sqrt(2)))),
}
"""Gelu-20 of the ONNX specification: what it is called, and its values on the grid."""


def fuse_gelu(model: ir.Model) -> None:
    """Fuse any arrangement of scalar arithmetic around Tanh or Erf that computes Gelu.

    It is recognised by its values on a grid, so the order of factors and the way the cube is
    written do not matter.
    """
    for node in tuple(model.graph.all_nodes()):
        if node.op_type in _DEFINITIONS:
            approximate, expected = _DEFINITIONS[node.op_type]
            for last in _downstream(node):
                source = _source_of(last, expected)
                if source is not None:
                    _replace(last, source, approximate)
                    break


def _downstream(node: ir.Node) -> Iterator[ir.Node]:
    """The multiplications that follow: one of them ends the formula."""
    for _ in range(4):
        readers = node.outputs[0].consumers()
        if len(readers) != 1 or readers[0].op_type not in _ELEMENTWISE:
            return
        node = readers[0]
        if node.op_type in {"Mul", "Div"}:
            yield node


def _source_of(last: ir.Node, expected: Array) -> ir.Value | None:
    """The value x for which the output of `last` is Gelu(x)."""
    cone = _cone(last)
    inside = {node.outputs[0] for node in cone}
    read = dict.fromkeys(value for node in cone for value in node.inputs if value is not None)
    for value in read:
        if constant(value) is None and value is not last.outputs[0]:
            computed = _evaluate(last.outputs[0], {value: _GRID}, inside)
            if computed is not None and np.abs(computed - expected).max() < TOLERANCE:
                return value
    return None


def _cone(last: ir.Node) -> tuple[ir.Node, ...]:
    """`last` and the arithmetic before it, nearest first."""
    cone, front = [last], [last]
    while front and len(cone) < MAX_NODES:
        node = front.pop(0)
        for value in node.inputs:
            producer = None if value is None else value.producer()
            if producer is not None and producer.op_type in _ELEMENTWISE and producer not in cone:
                cone.append(producer)
                front.append(producer)
    return tuple(cone)


def _evaluate(value: ir.Value, known: dict[ir.Value, Array], inside: set[ir.Value]) -> Array | None:
    """The value where `known` is given; None where it depends on anything else."""
    if value in known:
        return known[value]
    number = constant(value)
    node = value.producer()
    if number is not None:
        result = number.astype(np.float64).reshape(()) if number.size == 1 else None
    elif node is not None and value in inside:
        inputs = [None if source is None else _evaluate(source, known, inside) for source in node.inputs]
        complete = [array for array in inputs if array is not None]
        result = _ELEMENTWISE[node.op_type](*complete) if len(complete) == len(inputs) else None
    else:
        result = None
    if result is not None:
        known[value] = result
    return result


def _replace(last: ir.Node, source: ir.Value, approximate: str) -> None:
    fused = make_node(last, "Gelu", [source], {"approximate": approximate}, f"{last.name}/Gelu")
    fused.outputs[0].shape, fused.outputs[0].type = last.outputs[0].shape, last.outputs[0].type
    bypass(last, fused.outputs[0])
