"""Says a Gemm with a bias as a MatMul and an Add: the form that every runtime computes in INT8.

ONNX Runtime's CPU provider takes no Gemm between Q/DQ whose bias is float, and TensorRT takes no INT32
bias; a MatMul with a float Add behind it suits all. Classifiers of Caffe and PyTorch are Gemms.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from calibration.graphs import Names, add_initializer, drop_unread


def split_gemms(graph: ir.Graph) -> None:
    """Rewrite in place each plain Gemm (alpha = beta = 1, A as it is) of constant weights and a bias."""
    names = Names(graph)
    for node in tuple(graph):
        if node.op_type == "Gemm" and node.domain == "" and _is_plain(node):
            _split(graph, node, names)


def _is_plain(node: ir.Node) -> bool:
    attributes = node.attributes
    weight = node.inputs[1]
    return (
        len(node.inputs) == 3
        and node.inputs[2] is not None
        and weight is not None
        and weight.const_value is not None
        and attributes.get_float("alpha", 1.0) == 1.0
        and attributes.get_float("beta", 1.0) == 1.0
        and not attributes.get_int("transA", 0)
    )


def _split(graph: ir.Graph, node: ir.Node, names: Names) -> None:
    activation, weight, bias = node.inputs
    factor = _transposed(graph, weight, names) if node.attributes.get_int("transB", 0) else weight
    product = ir.node("MatMul", [activation, factor], name=str(node.name))
    product.outputs[0].name = names.new(f"{node.outputs[0].name}_product")
    product.outputs[0].type, product.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
    addition = ir.node("Add", [product.outputs[0], bias], name=names.new(f"{node.name}_bias"))
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], [product, addition], node.outputs, addition.outputs
    )
    drop_unread(graph, weight)


def _transposed(graph: ir.Graph, weight: ir.Value | None, names: Names) -> ir.Value:
    if weight is None or weight.const_value is None:
        raise ValueError("the weight of a plain Gemm is a constant")
    array = np.ascontiguousarray(weight.const_value.numpy().T)
    return add_initializer(graph, ir.tensor(array, name=names.new(f"{weight.name}_transposed")))
