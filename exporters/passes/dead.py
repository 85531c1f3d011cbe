"""What nothing reads."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def remove_dead(model: ir.Model) -> None:
    """Remove nodes, initializers and opset imports that no output depends on."""
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
