"""The precision a graph of the user's already has."""

from __future__ import annotations

import onnx_ir as ir

from calibration.precision import Precision

_INTEGER_OPERATORS = frozenset(
    {"ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear"}
)
_QUANTISES = _INTEGER_OPERATORS - {"DequantizeLinear"}
_HALF = {ir.DataType.FLOAT16: Precision.FP16, ir.DataType.BFLOAT16: Precision.BF16}
_FLOAT = frozenset({*_HALF, ir.DataType.FLOAT})


_FLOAT8 = frozenset({ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT8E5M2})
_INT4 = frozenset({ir.DataType.INT4, ir.DataType.UINT4})


def own_precision(model: ir.Model) -> Precision:
    """FP8, INT4 or INT8 where it quantises, else the type of most of its floating-point weights, or FP32.

    INT4 is what has weights in it and quantises nothing else.
    """
    stored = {value.dtype for value in model.graph.initializers.values()}
    if stored & _FLOAT8:
        return Precision.FP8
    if stored & _INT4 and not any(node.op_type in _QUANTISES for node in model.graph):
        return Precision.INT4
    if any(node.op_type in _INTEGER_OPERATORS for node in model.graph):
        return Precision.INT8
    elements = dict.fromkeys(_FLOAT, 0)
    for value in model.graph.initializers.values():
        if value.const_value is not None and value.const_value.dtype in _FLOAT:
            elements[value.const_value.dtype] += value.const_value.size
    most = max(elements, key=lambda dtype: (elements[dtype], dtype == ir.DataType.FLOAT))
    return _HALF.get(most, Precision.FP32)
