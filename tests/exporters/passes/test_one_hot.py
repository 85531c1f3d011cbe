from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from exporters.passes.one_hot import make_depth_a_scalar


def test_the_depth_is_a_scalar_and_the_vectors_are_the_same() -> None:
    text = """<ir_version: 10, opset_import: ["": 22]> g (int32[batch] i) => (float[batch,5] y)
        <int64[1] depth = {5}, float[2] values = {0.0, 1.0}> { y = OneHot(i, depth, values) }"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    make_depth_a_scalar(model)
    proto = ir.to_proto(model)
    (depth,) = (t for t in proto.graph.initializer if t.name == proto.graph.node[0].input[1])
    assert list(depth.dims) == []
    (found,) = ReferenceEvaluator(proto).run(None, {"i": np.array([0, 4, 2], np.int32)})
    np.testing.assert_array_equal(found, np.eye(5, dtype=np.float32)[[0, 4, 2]])
