from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir as ir

from exporters.passes.dead import remove_dead


def test_what_nothing_reads_inside_a_loop_goes_too() -> None:
    text = """<ir_version: 10, opset_import: ["": 22]> g (float[2] x) => (float[2] y)
        <int64 n = {3}, bool c = {1}> {
        y = Loop(n, c, x) <body = g (int64 i, bool ci, float[2] h) => (bool co, float[2] o)
            <float[2] used = {1.0, 2.0}, float[2] unused = {3.0, 4.0}>
            { co = Identity(ci)  o = Add(h, used) }> }"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    model.graph.register_initializer(
        ir.Value(name="outer", const_value=ir.tensor(np.zeros(1, np.float32), name="outer"))
    )
    remove_dead(model)
    (body,) = model.graph.subgraphs()
    assert set(body.initializers) == {"used"}
    assert set(model.graph.initializers) == {"n", "c"}
