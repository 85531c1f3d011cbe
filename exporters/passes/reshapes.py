"""An open dimension keeps its name through a Reshape."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from exporters.passes.graph import constant, set_constant
from exporters.passes.shapes import infer_shapes


def keep_open_dimension(model: ir.Model) -> None:
    """Write 0 ("as in the input") for a leading -1 that can only be the input's open dimension.

    Shape inference cannot see through -1, so that every later shape would lose the batch: where something
    was written, all shapes are inferred anew.
    """
    written = False
    for node in tuple(model.graph.all_nodes()):
        if node.op_type != "Reshape" or not _is_leading_open(node):
            continue
        target = constant(node.inputs[1])
        if target is not None:
            copied = np.concatenate([np.zeros(1, target.dtype), target[1:]])
            set_constant(node, 1, "shape", copied)
            written = True
    if written:
        infer_shapes(model)


def _is_leading_open(node: ir.Node) -> bool:
    source, target = node.inputs[0], constant(node.inputs[1])
    if source is None or source.shape is None or not len(source.shape) or target is None or not target.size:
        return False
    first, *rest = source.shape
    if isinstance(first, int) or not all(isinstance(size, int) for size in rest):
        return False
    kept = target[1:]
    return bool(target[0] == -1 and (kept > 0).all() and math.prod(rest) == math.prod(kept.tolist()))
