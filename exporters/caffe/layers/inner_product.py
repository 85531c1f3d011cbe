"""InnerProduct: a fully connected layer over everything from one axis on."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.layers.reshape import reshape_to
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`x` flattened from `axis` on, times the weight [out, in] ([in, out] with `transpose`), plus bias."""
    x = bottoms[0]
    axis = build.axis(x, build.parameter.inner_product_param.axis)
    inputs = prod(build.sizes(x, axis))
    if axis == 1:
        return [_gemm(build, x, inputs)]
    return [_matmul(build, x, axis, inputs)]


def _gemm(build: LayerBuilder, x: ir.Value, inputs: int) -> ir.Value:
    parameter = build.parameter.inner_product_param
    if len(dims(x)) != 2:
        x = build.node("Flatten", [x], (dims(x)[0], inputs), {"axis": 1})
    shape = (inputs, parameter.num_output) if parameter.transpose else (parameter.num_output, inputs)
    operands = [x, build.constant("weight", build.blob(0, "weight", shape))]
    if parameter.bias_term:
        operands.append(build.constant("bias", build.blob(1, "bias", (parameter.num_output,))))
    attributes = {"transB": 0 if parameter.transpose else 1}
    return build.node("Gemm", operands, (dims(x)[0], parameter.num_output), attributes)


def _matmul(build: LayerBuilder, x: ir.Value, axis: int, inputs: int) -> ir.Value:
    """Gemm knows two dimensions only, so more leading ones need MatMul."""
    parameter = build.parameter.inner_product_param
    outputs = parameter.num_output
    lead = dims(x)[:axis]
    if len(dims(x)) != axis + 1:
        x = reshape_to(build, x, (*lead, inputs))
    shape = (inputs, outputs) if parameter.transpose else (outputs, inputs)
    weight = build.blob(0, "weight", shape)
    operand = build.constant("weight", weight if parameter.transpose else np.ascontiguousarray(weight.T))
    product = build.node("MatMul", [x, operand], (*lead, outputs))
    if not parameter.bias_term:
        return product
    bias = build.constant("bias", build.blob(1, "bias", (outputs,)))
    return build.node("Add", [product, bias], (*lead, outputs))
