"""Transpositions that cancel, or that a reduction makes unnecessary."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from exporters.passes.graph import attribute_ints, bypass, constant, make_node, set_constant

_REDUCTIONS = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"}


def cancel_transposes(model: ir.Model) -> None:
    """Move transpositions past reductions and choices, and join neighbours.

    tf2onnx moves them past everything else, but leaves one before a network's global pooling.
    """
    for node in tuple(model.graph.all_nodes()):
        if node.op_type == "Where":
            _choose_first(node)
        source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        if source is None or source.op_type != "Transpose" or source.inputs[0] is None:
            continue
        if node.op_type in _REDUCTIONS:
            _reduce_first(node, source)
        elif node.op_type == "Transpose":
            _join(node, source)


def _choose_first(node: ir.Node) -> None:
    """Of two tensors that are transposed alike, by a condition that says the same of whole samples."""
    condition, *choices = node.inputs
    makers = [value.producer() if value is not None else None for value in choices]
    orders = {attribute_ints(maker, "perm") if _is_transpose(maker) else None for maker in makers if maker}
    order = next(iter(orders)) if len(orders) == 1 and all(makers) else None
    shape = None if condition is None else condition.shape
    if order is None or order[0] != 0 or shape is None or len(shape) != len(order) or set(shape[1:]) != {1}:
        return
    for index, maker in enumerate(makers, 1):
        node.replace_input_with(index, maker.inputs[0] if maker else None)
    _transpose_after(node, order)


def _is_transpose(node: ir.Node | None) -> bool:
    return node is not None and node.op_type == "Transpose"


def _reduce_first(node: ir.Node, transpose: ir.Node) -> None:
    order = attribute_ints(transpose, "perm")
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if order is None or axes is None:
        return
    reduced = {int(axis) % len(order) for axis in axes}
    keeps = node.attributes["keepdims"].as_int() if "keepdims" in node.attributes else 1
    kept = [order[axis] for axis in range(len(order)) if axis not in reduced]
    if not keeps and kept != sorted(kept):
        return
    moved = np.array(sorted(order[axis] for axis in reduced), np.int64)
    node.replace_input_with(0, transpose.inputs[0])
    set_constant(node, 1, "axes", moved)
    if keeps:
        _transpose_after(node, order)


def _transpose_after(node: ir.Node, order: tuple[int, ...]) -> None:
    old = node.outputs[0]
    reduced = make_node(node, node.op_type, node.inputs, dict(node.attributes), f"{node.name}/reduced")
    moved = make_node(node, "Transpose", reduced.outputs, {"perm": order}, f"{node.name}/transposed")
    moved.outputs[0].shape, moved.outputs[0].type = old.shape, old.type
    bypass(node, moved.outputs[0])


def _join(node: ir.Node, first: ir.Node) -> None:
    inner, outer = attribute_ints(first, "perm"), attribute_ints(node, "perm")
    if inner is None or outer is None:
        return
    order = tuple(inner[axis] for axis in outer)
    source = first.inputs[0]
    if source is not None and order == tuple(range(len(order))) and bypass(node, source):
        return
    node.replace_input_with(0, source)
    node.attributes["perm"] = ir.AttrInt64s("perm", order)
