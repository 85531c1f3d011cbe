"""Nodes that hand on what they get."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from exporters.passes.graph import attribute_ints, bypass, constant

TO_THE_END = 10**9
"""What tf2onnx writes for an open end; no axis is that long."""


def remove_no_ops(model: ir.Model) -> None:
    """Take out nodes whose first input and only output are the same tensor."""
    for node in tuple(model.graph.all_nodes()):
        is_no_op = _NO_OPS.get(node.op_type)
        source = node.inputs[0] if node.inputs else None
        used = [output for output in node.outputs if output.uses() or output.is_graph_output()]
        if is_no_op and source is not None and used == [node.outputs[0]] and is_no_op(node):
            bypass(node, source)


def _always(_: ir.Node) -> bool:
    return True


def _is_same_type(node: ir.Node) -> bool:
    source = node.inputs[0]
    return source is not None and source.dtype is not None and node.attributes["to"].as_int() == source.dtype


def _keeps_order(node: ir.Node) -> bool:
    order = attribute_ints(node, "perm")
    return order is not None and order == tuple(range(len(order)))


def _keeps_shape(node: ir.Node) -> bool:
    """Both shapes known and equal; one open dimension may stand in both under one name."""
    return _dimensions_apart(node) == 0


def _keeps_shape_and_values(node: ir.Node) -> bool:
    """The same, or all but one open dimension is: as many values as before leave it no choice."""
    apart = _dimensions_apart(node)
    return apart is not None and apart <= 1


def _dimensions_apart(node: ir.Node) -> int | None:
    """How many dimensions are not known to stay; None where that cannot be counted."""
    before, after = node.inputs[0], node.outputs[0].shape
    if before is None or before.shape is None or after is None or len(before.shape) != len(after):
        return None
    pairs = list(zip(before.shape, after, strict=True))
    if 0 in (*before.shape, *after):
        return None
    return sum(a != b or (not isinstance(a, int) and a.value is None) for a, b in pairs)


def _takes_all(node: ir.Node) -> bool:
    """A Slice from 0 to the end of every axis it names."""
    starts, ends, *rest = (constant(value) for value in node.inputs[1:])
    if starts is None or ends is None or any(array is None for array in rest):
        return False
    steps = rest[1] if len(rest) > 1 else None
    return (
        not starts.any() and bool((ends >= TO_THE_END).all()) and (steps is None or bool((steps == 1).all()))
    )


def _pads_nothing(node: ir.Node) -> bool:
    pads = constant(node.inputs[1])
    return pads is not None and not pads.any()


def _joins_one(node: ir.Node) -> bool:
    return len(node.inputs) == 1


def _neutral(element: int) -> Callable[[ir.Node], bool]:
    """Is the second operand all `element`, and too small to broadcast the first?"""

    def is_neutral(node: ir.Node) -> bool:
        operand = constant(node.inputs[1])
        return (
            operand is not None
            and operand.size == 1
            and operand.ndim == 0
            and np.all(operand == element).item()
        )

    return is_neutral


_NO_OPS: Mapping[str, Callable[[ir.Node], bool]] = {
    "Identity": _always,
    "Dropout": _always,
    "Cast": _is_same_type,
    "Transpose": _keeps_order,
    "Reshape": _keeps_shape_and_values,
    "Expand": _keeps_shape,
    "Slice": _takes_all,
    "Pad": _pads_nothing,
    "Concat": _joins_one,
    "Sum": _joins_one,
    "Mul": _neutral(1),
    "Div": _neutral(1),
    "Add": _neutral(0),
    "Sub": _neutral(0),
}
