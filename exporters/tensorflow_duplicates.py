"""Nodes that compute the same, as one.

tf2onnx merges them too, but which of them it keeps hangs on the seed of Python's hashes, and so do the names.
Layers that read the same sequence or the same mask have such nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

_LEFT_ALONE = frozenset({"Const", "Placeholder"})
"""Constants are told apart by their values; ours are merged when the graph is ONNX."""


def merge_duplicates(graph_def: Any, outputs: Collection[str]) -> None:
    """Let what reads a node read the first that computes the same; `outputs`, names of tensors, stay."""
    fixed = {name.split(":")[0] for name in outputs}
    attributes = {node.name: _attributes(node) for node in graph_def.node}
    values = {node.name: attributes[node.name] for node in graph_def.node if node.op == "Const"}
    stateful = {operator: _is_stateful(operator) for operator in {node.op for node in graph_def.node}}
    remaining = [node for node in graph_def.node if node.op not in _LEFT_ALONE and not stateful[node.op]]
    while True:  # what reads two nodes may only then be seen to be the same, when they are one
        first: dict[Hashable, str] = {}
        same: dict[str, str] = {}
        for node in remaining:
            inputs = tuple(values.get(edge, edge) for edge in node.input)
            kept = first.setdefault((node.op, inputs, attributes[node.name]), node.name)
            if kept != node.name and node.name not in fixed:
                same[node.name] = kept
        if not same:
            return
        remaining = [node for node in remaining if node.name not in same]
        for node in graph_def.node:
            node.input[:] = [_renamed(edge, same) for edge in node.input]


def _attributes(node: Any) -> Hashable:
    """All that is said of a node but what is internal to TensorFlow."""
    said = {name: value for name, value in node.attr.items() if not name.startswith("_")}
    return tuple((name, said[name].SerializeToString(deterministic=True)) for name in sorted(said))


def _is_stateful(operator: str) -> bool:
    """Whether two of them may differ all the same; so are those that TensorFlow does not know."""
    from tensorflow.python.framework import op_def_registry

    known = op_def_registry.get(operator)
    return known is None or bool(known.is_stateful)


def _renamed(edge: str, names: Mapping[str, str]) -> str:
    control, tensor = ("^", edge[1:]) if edge.startswith("^") else ("", edge)
    node, colon, index = tensor.partition(":")
    return f"{control}{names.get(node, node)}{colon}{index}"
