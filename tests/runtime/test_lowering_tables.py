"""A look-up the other way round gives the same bits, by ONNX's own evaluator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from runtime.backend import SessionOptions
from runtime.backends import get_backend
from runtime.lowering_tables import LOOKED_UP_FIRST, look_up_first
from runtime.tensors import Array

ROWS, WIDTH = 50, 8
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.integers(-127, 128, (ROWS, WIDTH)).astype(np.int8)
BY_ROW = RANDOM.uniform(0.001, 0.1, ROWS).astype(np.float32)

FORMS = {
    "by row": ("<axis=0>", BY_ROW, np.zeros(ROWS, np.int8)),
    "one scale": ("", np.float32(0.017), np.int8(0)),
}


def graph(form: str, outputs: str = "y", body: str = "") -> onnx.ModelProto:
    axis, scale, zero = FORMS[form]
    text = f"""<ir_version: 10, opset_import: ["": 22]> g (int32[batch,n] i) => (float[batch,n,{WIDTH}] y)
        {{ d = DequantizeLinear{axis}(t, s, z)  [look] y = Gather(d, i) {body} }}"""
    model = onnx.parser.parse_model(text)
    for name, array in {"t": TABLE, "s": scale, "z": zero}.items():
        model.graph.initializer.append(ir.to_proto(ir.tensor(np.asarray(array), name=name)))
    return model


def closed_form(form: str, places: Array) -> Array:
    scale = np.broadcast_to(np.asarray(FORMS[form][1]).reshape(-1, 1), (ROWS, 1))
    restored: Array = (TABLE.astype(np.float32) * scale)[places]
    return restored


@pytest.mark.parametrize("form", FORMS)
def test_the_rows_are_the_same_bits(form: str) -> None:
    model = ir.from_proto(graph(form))
    assert look_up_first(model.graph) == 1
    assert [node.op_type for node in model.graph].count("DequantizeLinear") == 0
    places = RANDOM.integers(0, ROWS, (3, 4)).astype(np.int32)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    (found,) = ReferenceEvaluator(proto).run(None, {"i": places})
    np.testing.assert_array_equal(found, closed_form(form, places))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_runtimes_give_the_same_bits_and_ort_says_how(form: str, backend: str, tmp_path: Path) -> None:
    if get_backend(backend).unavailable():
        pytest.skip(str(get_backend(backend).unavailable()))
    onnx.save(graph(form), tmp_path / "g.onnx")
    places = RANDOM.integers(0, ROWS, (3, 4)).astype(np.int32)
    with get_backend(backend).open(tmp_path / "g.onnx", "cpu", SessionOptions()) as session:
        np.testing.assert_array_equal(session.run({"i": places})["y"], closed_form(form, places))
        if backend == "ort":
            assert session.executed().lowering == LOOKED_UP_FIRST


def test_a_table_that_is_read_otherwise_too_is_left_to_its_other_reader() -> None:
    model = graph("by row", body="r = ReduceSum(d)")
    model.graph.output.append(onnx.helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, None))
    changed = ir.from_proto(model)
    assert look_up_first(changed.graph) == 1
    places = np.zeros((1, 1), np.int32)
    got = ReferenceEvaluator(ir.to_proto(changed)).run(None, {"i": places})
    want = ReferenceEvaluator(model).run(None, {"i": places})
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("change", ["columns", "zero point", "computed"])
def test_other_look_ups_stay_as_they_are(change: str) -> None:
    model = graph("by row")
    if change == "columns":
        model.graph.node[1].attribute.append(onnx.helper.make_attribute("axis", 1))
        model.graph.output[0].type.tensor_type.ClearField("shape")
    if change == "zero point":
        model.graph.initializer[2].CopyFrom(ir.to_proto(ir.tensor(np.ones(ROWS, np.int8), name="z")))
    if change == "computed":
        model.graph.node.insert(0, onnx.helper.make_node("Identity", ["t"], ["t2"]))
        model.graph.node[1].input[0] = "t2"
    assert look_up_first(ir.from_proto(model).graph) == 0
