"""What nothing reads."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def remove_dead(model: ir.Model) -> None:
    """Remove nodes, initializers and opset imports that no output depends on, in graphs inside nodes too."""
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    for graph in model.graph.subgraphs():
        for name, value in tuple(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del graph.initializers[name]
