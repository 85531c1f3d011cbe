"""Transpositions that cancel, or that a reduction makes unnecessary."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from exporters.passes.graph import attribute_ints, bypass, constant, make_node, set_constant

_REDUCTIONS = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"}


def cancel_transposes(model: ir.Model) -> None:
    """Move transpositions past reductions, and join neighbours.

    tf2onnx moves them past everything else, but leaves one before a network's global pooling.
    """
    for node in tuple(model.graph.all_nodes()):
        source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        if source is None or source.op_type != "Transpose" or source.inputs[0] is None:
            continue
        if node.op_type in _REDUCTIONS:
            _reduce_first(node, source)
        elif node.op_type == "Transpose":
            _join(node, source)


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
    node.replace_input_with(0, first.inputs[0])
    node.attributes["perm"] = ir.AttrInt64s("perm", order)
