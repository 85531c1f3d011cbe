"""Names of a converted graph: TensorFlow's scopes, without what tf2onnx and tracing add to them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx
import onnx_ir as ir

_COUNTER = re.compile(r"__\d+")
"""tf2onnx numbers what it makes with one counter per process, so these differ from run to run."""
_GENERATED = re.compile(r"^(const_\w+|new_shape|Const_?\d*|)$")
_ROLES = {
    "Conv": ("input", "weight", "bias"),
    "ConvTranspose": ("input", "weight", "bias"),
    "Gemm": ("input", "weight", "bias"),
    "MatMul": ("input", "weight"),
}


def name_as_in_tensorflow(model: ir.Model, weights: Mapping[ir.Value, str]) -> None:
    """Give nodes, values and initializers clean, unique names, the same in every process.

    `weights` holds the variable name of each initializer that came from one; other initializers
    are called after the node that uses them. The graph must be in its final order.
    """
    taken = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    kept = set(taken)
    for value, name in weights.items():
        if value.name not in kept:
            value.name = _unique(name, taken)
    for node in model.graph.all_nodes():
        node.name = _unique(_clean(node.name or "") or node.op_type, taken)
        for index, output in enumerate(node.outputs):
            if output.name and output.name not in kept:
                output.name = node.name if index == 0 else _unique(f"{node.name}:{index}", taken)
    for node in model.graph.all_nodes():
        for index, value in enumerate(node.inputs):
            if value is not None and value.is_initializer() and value not in weights and value.name not in taken:
                value.name = _unique(f"{node.name}/{_role(node, index)}", taken)


def _clean(name: str) -> str:
    return _COUNTER.sub("", name).strip("/")


def _unique(name: str, taken: set[str | None]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate


def _role(node: ir.Node, index: int) -> str:
    """What an input is to its node: "weight", or the specification's own name for it."""
    roles = _ROLES.get(node.op_type)
    if roles:
        return roles[index]
    declared = onnx.defs.get_schema(node.op_type).inputs
    return declared[min(index, len(declared) - 1)].name
