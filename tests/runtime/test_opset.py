"""A raised model computes what it computed before, by ONNX's reference evaluator."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from runtime.errors import GraphError
from runtime.opset import at_opset, readable_opset
from runtime.tensors import Array

# Operators whose signature changed between 11 and 22: Softmax's axis (13), Squeeze, Unsqueeze and
# ReduceSum's axes as inputs (13), Reshape's allowzero (14), ReduceMean's axes as an input (18).
CHANGED = {
    11: "s = ReduceSum<axes=[1], keepdims=1>(c) u = Squeeze<axes=[1]>(s) v = Unsqueeze<axes=[1]>(u)"
    " m = ReduceMean<axes=[1], keepdims=1>(v)",
    13: "s = ReduceSum<keepdims=1>(c, one) u = Squeeze(s, one) v = Unsqueeze(u, one)"
    " m = ReduceMean<axes=[1], keepdims=1>(v)",
    17: "s = ReduceSum<keepdims=1>(c, one) u = Squeeze(s, one) v = Unsqueeze(u, one)"
    " m = ReduceMean<axes=[1], keepdims=1>(v)",
    18: "s = ReduceSum<keepdims=1>(c, one) u = Squeeze(s, one) v = Unsqueeze(u, one)"
    " m = ReduceMean<keepdims=1>(v, one)",
}
X = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)


def _model(opset: int) -> ir.Model:
    text = f"""<ir_version: 8, opset_import: ["": {opset}]>
        g (float[batch,3,6,6] x) => (float[batch,1,4,4] y, float[batch,16] p) {{
            c = Conv(x, w) r = Relu(c) {CHANGED[opset]}
            y = Add(m, s) f = Flatten(m) p = Softmax<axis=1>(f) }}"""
    proto = onnx.parser.parse_model(text)
    weight = np.random.default_rng(1).standard_normal((5, 3, 3, 3)).astype(np.float32)
    constants: dict[str, Array] = {"w": weight, "one": np.array([1], np.int64)}
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    if opset < 13:
        del proto.graph.initializer[1]
    onnx.checker.check_model(proto, full_check=True)
    return ir.from_proto(proto)


def _run(model: ir.Model) -> list[Array]:
    return list(ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": X}))


@pytest.mark.parametrize("target", [18, 22])
@pytest.mark.parametrize("opset", CHANGED)
def test_a_raised_model_computes_the_same(opset: int, target: int) -> None:
    before = _run(_model(opset))
    raised = at_opset(_model(opset), target)
    assert raised.graph.opset_imports[""] == target
    onnx.checker.check_model(ir.to_proto(raised), full_check=True)
    for now, then in zip(_run(raised), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_model_that_is_there_is_handed_back() -> None:
    model = _model(18)
    assert at_opset(model, 18) is model


def test_a_newer_model_is_refused() -> None:
    with pytest.raises(GraphError, match="at opset 18, newer than the opset 17 wanted; use the older export"):
        at_opset(_model(18), 17)


def test_what_cannot_be_raised_is_refused_by_the_operators_name() -> None:
    body = "(float[6,2,8] x, float[1,15,8] w, float[1,15,5] r) => (float[6,1,2,5] y)"
    text = f'<ir_version: 3, opset_import: ["": 6]> g {body} {{ y = GRU<hidden_size=5>(x, w, r) }}'
    model = ir.from_proto(onnx.parser.parse_model(text))
    with pytest.raises(GraphError, match=r"from opset 6 to 22: No Adapter .* for GRU; export it at opset 22"):
        at_opset(model, 22)


def test_a_value_that_was_renamed_on_the_way_is_renamed() -> None:
    """GridSample's "bilinear" is called "linear" from opset 20 on."""
    body = "(float[2,2,4,4] x, float[2,3,3,2] g) => (float[2,2,3,3] y)"
    text = f'<ir_version: 8, opset_import: ["": 18]> g {body} {{ y = GridSample<mode="bilinear">(x, g) }}'
    raised = at_opset(ir.from_proto(onnx.parser.parse_model(text)), 22)
    assert raised.graph[0].attributes.get_string("mode", "") == "linear"


def test_a_graph_with_region_alignment_stays_where_onnx_runtime_has_it() -> None:
    body = "(float[1,1,4,4] x, float[r,4] b, int64[r] i) => (float[r,1,2,2] y)"
    node = "{ y = RoiAlign<output_height=2, output_width=2>(x, b, i) }"
    older = ir.from_proto(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> g {body} {node}'))
    raised = at_opset(older, readable_opset(older, 22))
    feed = {
        "x": np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4),
        "b": np.array([[0, 0, 3, 3]], np.float32),
        "i": np.zeros(1, np.int64),
    }
    session = ort.InferenceSession(ir.to_proto(raised).SerializeToString())
    assert session.run(None, feed)[0].shape == (1, 1, 2, 2)
    assert raised.graph.opset_imports[""] == 21
    assert readable_opset(_model(18), 22) == 22
