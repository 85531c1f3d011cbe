"""The types of a file's multiply-accumulates, of graphs that are counted by hand."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
import pytest

from runtime.written import written_types
from tests import models


@pytest.mark.parametrize(
    "model", [models.CONV_CHAIN, models.TRANSFORMER, models.EMBEDDING], ids=lambda model: model.name
)
def test_a_float_graph_is_float(model: models.TinyModel) -> None:
    assert written_types(model.build(), {}) == ({model.computes: 1.0} if model.computes else {})


def graph(body: str, opset: int = 22) -> ir.Model:
    """x [b, 4] times w [4, 8] is 32 multiply-accumulates, times v [8, 2] another 16."""
    text = f"""<ir_version: 10, opset_import: ["": {opset}]> g
        (float[b,4] x, float[4,8] w, float[8,2] v, float s, int8 z, int8[8,2] q, float8e4m3fn f,
         float8e4m3fn[8,2] qf, int4[8,2] qi)
        => (float[b,2] y) {{ {body} }}"""
    return ir.from_proto(onnx.parser.parse_model(text))


def test_shares_go_by_multiply_accumulates_and_int8_wants_both_operands_restored() -> None:
    found = written_types(
        graph(
            """[one] a = MatMul(x, w)
            aq = QuantizeLinear(a, s, z)  ad = DequantizeLinear(aq, s, z)
            vd = DequantizeLinear(q, s, z)
            [two] y = MatMul(ad, vd)"""
        ),
        {},
    )
    assert found == {"float32": 32 / 48, "int8": 16 / 48}


def test_weights_alone_in_int8_are_no_integer_arithmetic() -> None:
    found = written_types(
        graph("[one] a = MatMul(x, w)  vd = DequantizeLinear(q, s, z)  [two] y = MatMul(a, vd)"), {}
    )
    assert found == {"float32": 1.0}


def test_fp8_is_told_by_what_is_restored() -> None:
    found = written_types(
        graph(
            """[one] a = MatMul(x, w)
            aq = QuantizeLinear(a, s, f)  ad = DequantizeLinear(aq, s, f)
            vd = DequantizeLinear(qf, s, f)
            [two] y = MatMul(ad, vd)"""
        ),
        {},
    )
    assert found == {"float32": 32 / 48, "float8_e4m3fn": 16 / 48}


def test_weights_in_int4_are_multiplied_in_the_type_of_the_other_operand() -> None:
    body = "[one] a = MatMul(x, w)  vd = DequantizeLinear(qi, s)  [two] y = MatMul(a, vd)"
    assert written_types(graph(body), {}) == {"float32": 1.0}


def test_halves_are_told_by_their_operands() -> None:
    found = written_types(
        graph(
            """[one] a = MatMul(x, w)
            ah = Cast<to=10>(a)  vh = Cast<to=10>(v)
            [two] yh = MatMul(ah, vh)  y = Cast<to=1>(yh)"""
        ),
        {},
    )
    assert found == {"float32": 32 / 48, "float16": 16 / 48}


def test_what_is_repeated_is_what_its_body_multiplies_in() -> None:
    text = """<ir_version: 10, opset_import: ["": 22]> g (float[2,4] x, float[4,4] w) => (float[2,4] y)
        <int64 n = {3}, bool c = {1}> {
        [loop] y = Loop(n, c, x) <body = g (int64 i, bool ci, float[2,4] h) => (bool co, float[2,4] o)
            { co = Identity(ci)  o = MatMul(h, w) }> }"""
    assert written_types(ir.from_proto(onnx.parser.parse_model(text)), {}) == {"float32": 1.0}
