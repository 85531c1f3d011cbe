"""A name for everything, and no name twice."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def fix_names(model: ir.Model) -> None:
    """Name what has no name after its operator, and number what shares one; the rest keeps its name.

    Depends on the order of nodes alone, so it comes after sorting.
    """
    for node in model.graph.all_nodes():
        node.name = node.name or node.op_type
        for index, output in enumerate(node.outputs):
            if output.name is None or _is_generated(output.name):
                output.name = node.name if index == 0 else f"{node.name}/{index}"
    common.NameFixPass()(model)


def _is_generated(name: str) -> bool:
    """Is it a name that onnx_ir makes up from a counter of its own ("val_12")?"""
    return name.startswith("val_") and name[4:].isdigit()
