"""Whole numbers compared as such, beside ONNX's evaluator before and after the pass."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from exporters.passes.comparisons import compare_whole_numbers
from exporters.passes.shapes import infer_shapes
from runtime.tensors import Array


def passed(body: str, inputs: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    text = f"""<ir_version: 10, opset_import: ["": 22]> g ({inputs}) => (bool[n] y)
        <float[1] three = {{3.0}}, float[1] half = {{0.5}}> {{ {body} }}"""
    before = onnx.parser.parse_model(text)
    model = ir.from_proto(before)
    infer_shapes(model)
    compare_whole_numbers(model)
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    return before, after


def types_compared(model: onnx.ModelProto) -> set[int]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.input)}
    types |= {t.name: t.data_type for t in inferred.initializer}
    (node,) = (node for node in inferred.node if "Cast" not in node.op_type)
    return {types[name] for name in node.input}


def answer(model: onnx.ModelProto, feed: dict[str, Array]) -> Array:
    (found,) = ReferenceEvaluator(model).run(None, feed)
    return np.asarray(found)


FEED: dict[str, Array] = {"a": np.array([-1, 3, 4], np.int32), "b": np.array([3, 3, 3], np.int64)}


@pytest.mark.parametrize("operator", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("other", ["f", "three"])
def test_the_answer_is_the_same_and_no_float_is_left(operator: str, other: str) -> None:
    casts = "e = Cast<to=1>(a) " + ("f = Cast<to=1>(b)" if other == "f" else "")
    inputs = "int32[n] a, int64[n] b" if other == "f" else "int32[n] a"
    before, after = passed(f"{casts} y = {operator}(e, {other})", inputs)
    feed: dict[str, Array] = {value.name: FEED[value.name] for value in before.graph.input}
    want, got = answer(before, feed), answer(after, feed)
    np.testing.assert_array_equal(got, want)
    assert types_compared(after) == {onnx.TensorProto.INT64}


def test_numbers_that_float32_does_not_tell_apart_are_told_apart() -> None:
    _, after = passed("e = Cast<to=1>(a) f = Cast<to=1>(b) y = Less(e, f)", "int32[n] a, int64[n] b")
    large = {"a": np.array([2**24], np.int32), "b": np.array([2**24 + 1])}
    assert answer(after, large).tolist() == [True]


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("y = Less(x, three)", "float[n] x"),
        ("e = Cast<to=1>(a) y = Less(e, half)", "int32[n] a"),
        ("e = Cast<to=1>(a) y = Less(e, x)", "int32[n] a, float[n] x"),
    ],
)
def test_floats_stay_floats(body: str, inputs: str) -> None:
    before, after = passed(body, inputs)
    assert types_compared(after) == {onnx.TensorProto.FLOAT}
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in before.graph.node]
