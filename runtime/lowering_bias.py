"""Which biases of products ONNX Runtime takes into its integer kernel, and which it must leave alone.

Its MatMulAddFusion makes a Gemm of a MatMul and the Add behind it. Where a Q follows, the bias becomes int32
and all of it is one integer kernel (QGemm). Elsewhere no integer kernel takes the float bias, and the factors
would be dequantised in every query: ResNet50's classifier then took it from 6.4 to 8.8 ms. The fusion is on
or off for a whole session; where it is on, a bias that it must leave alone is subtracted negated: x - (-b)
is x + b to the last bit, and no Add.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtime.tensors import Array

_TAKE_A_BIAS = frozenset({"Gelu", "LayerNormalization"})
"""Operators into whose kernels ONNX Runtime fuses an Add before them (BiasGelu, SkipLayerNormalization)."""

_INT32 = 2.0**31


@dataclass(frozen=True)
class _Biased:
    """A product of two dequantised tensors, and the Add behind it alone."""

    product: ir.Node
    add: ir.Node
    bias: ir.Value
    factors: tuple[ir.Node, ir.Node]


def take_biases_in(graph: ir.Graph) -> bool:
    """Rewrite a lowered `graph` in place, with the same values; whether the fusion may run then."""
    found = list(_biased(graph))
    taken = [each for each in found if _is_taken(each)]
    if not taken or any(node.op_type in _TAKE_A_BIAS for node in graph):
        return False
    for each in found:
        if each not in taken:
            _subtract(graph, each)
    return True


def _biased(graph: ir.Graph) -> Iterator[_Biased]:
    for product in graph:
        if product.op_type != "MatMul" or product.domain:
            continue
        readers = [use.node for use in product.outputs[0].uses()]
        factors = [value.producer() for value in product.inputs if value is not None]
        a, b = (node if node and node.op_type == "DequantizeLinear" else None for node in factors)
        if a is None or b is None or len(readers) != 1 or readers[0].op_type != "Add":
            continue
        (bias,) = (value for value in readers[0].inputs if value is not product.outputs[0])
        if bias is not None and bias.const_value is not None and bias.is_initializer():
            yield _Biased(product, readers[0], bias, (a, b))


def _is_taken(biased: _Biased) -> bool:
    """As ONNX Runtime 1.32's MatMulAddFusion and WeightBiasQuantization have it."""
    activation, weight = biased.factors
    readers = [use.node for use in biased.add.outputs[0].uses()]
    return (
        len(readers) == 1
        and readers[0].op_type == "QuantizeLinear"
        and not biased.add.outputs[0].is_graph_output()
        and _rank_before(activation) == _rank_before(weight) == 2
        and weight.attributes.get_int("block_size", 0) == 0
        and weight.attributes.get_int("axis", 1) in (1, -1)
        and _fits_int32(biased)
    )


def _rank_before(dequantise: ir.Node) -> int | None:
    """Of what it restores, which lies in front of a Q where the graph does not say it behind."""
    value: ir.Value | None = dequantise.outputs[0]
    while value is not None and value.shape is None:
        node = value.producer()
        if node is None or node.op_type not in {"Clip", "DequantizeLinear", "QuantizeLinear"}:
            return None
        value = node.inputs[0]
    return len(value.shape) if value is not None and value.shape is not None else None


def _fits_int32(biased: _Biased) -> bool:
    """Whether the bias, one number an output, is an int32 multiple of the product's step."""
    activation, weight = biased.factors
    bias, of_activation, of_weight = map(_constant, (biased.bias, activation.inputs[1], weight.inputs[1]))
    if bias is None or bias.ndim != 1 or of_activation is None or of_activation.size != 1:
        return False
    if of_weight is None or of_weight.size not in {1, bias.size}:
        return False
    with np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore"):
        steps = np.abs(bias) / (of_activation * of_weight)
    return bool((steps < _INT32).all())  # NaN is not


def _constant(value: ir.Value | None) -> Array | None:
    tensor = value.const_value if value is not None else None
    return tensor.numpy() if tensor is not None else None


def _subtract(graph: ir.Graph, biased: _Biased) -> None:
    name, bias = f"{biased.bias.name}_negated", _constant(biased.bias)
    if bias is not None and name not in graph.initializers:
        tensor = ir.tensor(-bias, name=name)
        graph.register_initializer(
            ir.Value(
                name=name, shape=ir.Shape(bias.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        )
    biased.add.op_type = "Sub"
    biased.add.replace_input_with(0, biased.product.outputs[0])
    biased.add.replace_input_with(1, graph.initializers[name])
