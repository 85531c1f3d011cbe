"""Names of a converted graph: TensorFlow's scopes, without what tracing and tf2onnx add to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import onnx
import onnx_ir as ir

_COUNTER = re.compile(r"__\d+")
"""tf2onnx numbers what it makes with one counter per process, so these differ from run to run."""

_ROLES = {
    "Conv": ("input", "weight", "bias"),
    "ConvTranspose": ("input", "weight", "bias"),
    "Gemm": ("input", "weight", "bias"),
    "MatMul": ("input", "weight"),
}
"""What the inputs of an operator are called; elsewhere the specification's own names serve."""


def name_as_in_tensorflow(model: ir.Model, weights: Mapping[ir.Value, str]) -> None:
    """Give nodes, values and initializers clean, unique names, the same in every process.

    `weights` holds the variable's name of each initializer that came from one; the others are
    called after the first node that reads them. The nodes must be in their final order.
    """
    names = _Names({value.name or "" for value in (*model.graph.inputs, *model.graph.outputs)})
    fixed = {*model.graph.inputs, *model.graph.outputs}
    renamed = {value: names.unique(name) for value, name in weights.items() if value not in fixed}
    # a node with a name of TensorFlow's own keeps it; the helpers around it get a number
    for node in sorted(model.graph.all_nodes(), key=lambda node: bool(_COUNTER.search(node.name or ""))):
        node.name = names.unique(_COUNTER.sub("", node.name or "").strip("/") or node.op_type)
    for node in model.graph.all_nodes():
        for index, value in enumerate(node.outputs):
            if value.name and value not in fixed:
                renamed[value] = str(node.name) if index == 0 else names.unique(f"{node.name}/{index}")
    for node, index, value in _reads(model):
        if value not in renamed and value not in fixed and value.producer() is None:
            renamed[value] = names.unique(f"{node.name}/{_role(node, index)}")
    ir.convenience.rename_values(list(renamed), list(renamed.values()))


class _Names:
    """Hands out names that nobody has yet."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def unique(self, name: str) -> str:
        candidate, number = name, 1
        while candidate in self._taken:
            candidate, number = f"{name}_{number}", number + 1
        self._taken.add(candidate)
        return candidate


def _reads(model: ir.Model) -> Iterator[tuple[ir.Node, int, ir.Value]]:
    for node in model.graph.all_nodes():
        for index, value in enumerate(node.inputs):
            if value is not None:
                yield node, index, value


def _role(node: ir.Node, index: int) -> str:
    roles = _ROLES.get(node.op_type)
    if roles:
        return roles[index]
    declared = onnx.defs.get_schema(node.op_type).inputs
    return str(declared[min(index, len(declared) - 1)].name)
