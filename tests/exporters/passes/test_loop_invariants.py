"""Loops of weights, against ONNX's evaluator before and after the pass."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from exporters.passes.loop_invariants import capture_loop_invariants

WEIGHT = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)


def loop(*, identity: bool = False) -> onnx.ModelProto:
    """Four times tanh(state @ weight); the weight is carried, and all states are an output."""
    square, state = [3, 3], [2, 3]
    handed_on = "weight_out" if identity else "weight_in"
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state_in", "weight_in"], ["product"]),
            helper.make_node("Tanh", ["product"], ["state_out"]),
            helper.make_node("Identity", ["state_out"], ["said"]),
            helper.make_node("Identity", ["cond_in"], ["cond_out"]),
            *([helper.make_node("Identity", ["weight_in"], ["weight_out"])] if identity else []),
        ],
        "body",
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("weight_in", TensorProto.FLOAT, square),
            helper.make_tensor_value_info("state_in", TensorProto.FLOAT, state),
        ],
        [
            helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info(handed_on, TensorProto.FLOAT, square),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, state),
            helper.make_tensor_value_info("said", TensorProto.FLOAT, state),
        ],
    )
    node = helper.make_node("Loop", ["most", "go", "weight", "x"], ["same", "last", "all"], "loop", body=body)
    graph = helper.make_graph(
        [node, helper.make_node("Add", ["same", "weight"], ["twice"], "twice")],
        "loops",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, state)],
        [
            helper.make_tensor_value_info("last", TensorProto.FLOAT, state),
            helper.make_tensor_value_info("all", TensorProto.FLOAT, [4, *state]),
            helper.make_tensor_value_info("twice", TensorProto.FLOAT, square),
        ],
        [
            numpy_helper.from_array(WEIGHT, "weight"),
            numpy_helper.from_array(np.array(4), "most"),
            numpy_helper.from_array(np.array(True), "go"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def passed(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = ir.from_proto(proto)
    capture_loop_invariants(model)
    result = ir.to_proto(model)
    onnx.checker.check_model(result, full_check=True)
    return result


def test_a_weight_that_is_carried_is_captured() -> None:
    for identity in (False, True):
        before = loop(identity=identity)
        after = passed(before)
        node = next(node for node in after.graph.node if node.op_type == "Loop")
        assert list(node.input) == ["most", "go", "x"]
        assert list(node.output) == ["last", "all"]
        body = node.attribute[0].g
        assert [value.name for value in body.input] == ["count", "cond_in", "state_in"]
        assert len(body.output) == 3
        assert next(node for node in body.node if node.op_type == "MatMul").input[1] == "weight"
        feed = {"x": np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)}
        expected, got = (ReferenceEvaluator(model).run(None, feed) for model in (before, after))
        for one, other in zip(expected, got, strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_changes_stays_carried() -> None:
    once = passed(loop())
    assert passed(once).graph.node[0].input == once.graph.node[0].input
