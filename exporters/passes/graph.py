"""What the passes have in common: reading constants and taking nodes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from runtime.errors import GraphError
from runtime.tensors import Array


def constant(value: ir.Value | None) -> Array | None:
    """The array behind an initializer that nobody outside can set, else None."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def only_reader(value: ir.Value) -> ir.Node | None:
    """The one node that reads `value`, where nothing else and no output needs it."""
    readers = value.consumers()
    return (
        readers[0] if len(readers) == 1 and len(value.uses()) == 1 and not value.is_graph_output() else None
    )


def produced_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that makes `value`, where it is an `op_type`."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type else None


def operands(node: ir.Node | None) -> tuple[tuple[ir.Value, ir.Value], ...]:
    """The two inputs of a commutative operator, both ways round; nothing for no node."""
    if node is None or len(node.inputs) != 2:
        return ()
    first, second = node.inputs
    return () if first is None or second is None else ((first, second), (second, first))


def attribute_ints(node: ir.Node, name: str) -> tuple[int, ...] | None:
    attribute = node.attributes.get(name)
    return None if attribute is None else tuple(attribute.as_ints())


def set_constant(node: ir.Node, index: int, role: str, array: Array) -> None:
    """Give the node a constant input of its own, under the old one's name where nothing else reads it."""
    old = node.inputs[index] if index < len(node.inputs) else None
    if old is not None and old.is_initializer() and len(old.uses()) == 1 and not old.is_graph_output():
        old.const_value = ir.tensor(np.asarray(array, order="C"), name=old.name)
        old.shape, old.dtype = ir.Shape(array.shape), old.const_value.dtype
        return
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, _new_initializer(graph_of(node), f"{node.name}/{role}", array))


def graph_of(node: ir.Node) -> ir.Graph:
    """The graph that holds a node."""
    if not isinstance(node.graph, ir.Graph):
        raise GraphError(f"node {node.name!r} ({node.op_type}) is in no graph; inline functions first")
    return node.graph


def _new_initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    unique, number = name, 1
    while unique in graph.initializers:
        unique, number = f"{name}_{number}", number + 1
    value = ir.val(unique, const_value=ir.tensor(np.asarray(array, order="C"), name=unique))
    graph.register_initializer(value)
    return value


def bypass(node: ir.Node, value: ir.Value) -> bool:
    """Let the readers of the node's only output read `value`, and remove the node.

    False, and nothing done, where an output's name would get lost: `value` is itself an input,
    an output or an initializer of the graph, or belongs to a graph outside.
    """
    output, graph = node.outputs[0], graph_of(node)
    if output.is_graph_output():
        producer = value.producer()
        if producer is None or producer.graph is not graph or value.is_graph_output():
            return False
        name, shape, kind = output.name, output.shape, output.type
        graph.outputs[:] = [value if out is output else out for out in graph.outputs]
        output.name, value.name = None, name
        value.shape, value.type = shape, kind
    output.replace_all_uses_with(value)
    graph.remove(node, safe=True)
    return True


def make_node(
    before: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any], name: str
) -> ir.Node:
    """A new node of one output, put before another."""
    node = ir.node(op_type, inputs, attributes=attributes, name=name)
    node.outputs[0].name = name
    graph_of(before).insert_before(before, node)
    return node
