"""A OneHot's depth as a scalar."""

from __future__ import annotations

import onnx_ir as ir

from exporters.passes.graph import constant, set_constant


def make_depth_a_scalar(model: ir.Model) -> None:
    """ONNX takes a scalar or [1]; tf2onnx writes the latter, and ONNX's own evaluator fails on it."""
    for node in tuple(model.graph.all_nodes()):
        depth = constant(node.inputs[1]) if node.op_type == "OneHot" else None
        if depth is not None and depth.ndim:
            set_constant(node, 1, "depth", depth.reshape(()))
