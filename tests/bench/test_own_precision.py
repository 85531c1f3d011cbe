"""Which precision a graph of the user's has."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
import pytest

from bench.own_precision import own_precision
from calibration.precision import Precision

QUANTISED = "q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  r = DequantizeLinear(w, s, z)"
RESTORED = "r = DequantizeLinear(w, s)"


@pytest.mark.parametrize(
    ("stored", "body", "precision"),
    [
        ("int8", f"{QUANTISED}  y = MatMul(d, r)", Precision.INT8),
        ("float8e4m3fn", f"{QUANTISED}  y = MatMul(d, r)", Precision.FP8),
        ("float8e4m3fn", f"{RESTORED}  y = MatMul(x, r)", Precision.FP8),
        ("int4", f"{RESTORED}  y = MatMul(x, r)", Precision.INT4),
        ("uint4", f"{RESTORED}  y = MatMul(x, r)", Precision.INT4),
        ("int4", "q = QuantizeLinear(x, s, z8)  d = DequantizeLinear(q, s, z8)  r = DequantizeLinear(w, s)"
         "  y = MatMul(d, r)", Precision.INT8),
    ],
)  # fmt: skip
def test_it_is_told_by_what_is_stored(stored: str, body: str, precision: Precision) -> None:
    constants = f"float s = {{0.5}}, int8 z8 = {{0}}, {stored} z = {{0}}, {stored}[2,2] w = {{1, 0, 0, 1}}"
    text = f"""<ir_version: 10, opset_import: ["": 22]> g (float[b,2] x) => (float[b,2] y)
        <{constants}> {{ {body} }}"""
    assert own_precision(ir.from_proto(onnx.parser.parse_model(text))) is precision
