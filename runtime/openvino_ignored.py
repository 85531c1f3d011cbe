"""What OpenVINO reads over in a graph, and computes something else without a word."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from runtime.errors import UnsupportedError

_IGNORED: Mapping[str, Mapping[str, object]] = {
    "Attention": {"left_window_size": -1, "right_window_size": -1},
    "GRU": {"layout": 0},
    "LSTM": {"layout": 0},
    "RNN": {"layout": 0},
    "Resize": {"antialias": 0, "exclude_outside": 0, "keep_aspect_ratio_policy": "stretch"},
    "SpaceToDepth": {"mode": "DCR"},
}
"""Operator to its attributes, and what they are where they change nothing.

Of OpenVINO 2026.4.1: in the ONNX project's cases for them it gives what the reference evaluator gives without
the attribute (docs/results/conformance.md).
"""

_PEEPHOLES = 7
"""The place of that input among an LSTM's; it is read over, too."""


def refuse_ignored(model: ir.Model) -> None:
    """Raises UnsupportedError, naming the node, where a graph has any of it."""
    for node in model.graph.all_nodes():
        what = _ignored_of(node)
        if what is not None:
            raise UnsupportedError(
                f"openvino ignores {what} of {node.op_type}, which node {node.name!r} has, and would compute"
                " something else; use another backend"
            )


def _ignored_of(node: ir.Node) -> str | None:
    for name, neutral in _IGNORED.get(node.op_type, {}).items():
        attribute = node.attributes.get(name)
        if attribute is not None and attribute.value != neutral:
            return f"the attribute {name}"
    if node.op_type == "LSTM" and len(node.inputs) > _PEEPHOLES and node.inputs[_PEEPHOLES] is not None:
        return "the peepholes"
    return None
