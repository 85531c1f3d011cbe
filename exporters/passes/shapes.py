"""A shape and a type for every value."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def infer_shapes(model: ir.Model) -> None:
    """Forget the shapes of values inside and infer them anew from inputs and initializers.

    A graph that contradicts itself is left as it is here; the checker says what is wrong with it.
    """
    for graph in model.graphs():
        for node in graph:
            for output in node.outputs:
                if not output.is_graph_output():
                    output.shape = None
    common.ShapeInferencePass(check_type=True, strict_mode=True, data_prop=True)(model)
