"""All passes together, and the look of what they leave."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from exporters.passes import PASSES, optimise
from exporters.source import ZOO_IR_VERSION, ZOO_OPSET
from tests.exporters.graphs import evaluate, operators, parse, random

TEXT = """g (float[batch,8,8,3] x) => (float[batch,4] y) {
    t = Transpose<perm=[0,3,1,2]>(x)
    k = Transpose<perm=[3,2,0,1]>(kernel)
    p = Pad(t, a)
    c = Conv(p, k)
    n = BatchNormalization(c, g, b, m, v)
    r = Relu(n)
    q = Pad(r, a)
    o = MaxPool<kernel_shape=[3,3], strides=[2,2]>(q)
    i = Identity(o)
    w = Transpose<perm=[0,2,3,1]>(i)
    y = ReduceMean<keepdims=0>(w, axes)
}"""


def network(opset: int = 22) -> ir.Model:
    return parse(
        TEXT,
        opset,
        kernel=random(3, 3, 3, 4),
        a=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        axes=np.array([1, 2]),
        g=random(4, seed=1),
        b=random(4, seed=2),
        m=random(4, seed=3),
        v=np.abs(random(4, seed=4)) + 0.1,
    )


def test_a_convolutional_network_becomes_its_bare_bones() -> None:
    model = network(18)
    optimised = optimise(model)
    assert [node.op_type for node in optimised.graph] == [
        "Transpose",
        "Conv",
        "Relu",
        "MaxPool",
        "ReduceMean",
    ]
    np.testing.assert_allclose(evaluate(optimised)[0], evaluate(model)[0], rtol=1e-4, atol=1e-5)


def test_the_model_given_is_left_as_it_was() -> None:
    model = network(18)
    before = ir.to_proto(model).SerializeToString()
    optimise(model)
    assert ir.to_proto(model).SerializeToString() == before


def test_optimising_again_changes_nothing() -> None:
    once = optimise(network())
    assert ir.to_proto(optimise(once)).SerializeToString() == ir.to_proto(once).SerializeToString()


def test_the_header_is_the_same_everywhere() -> None:
    model = network()
    model.producer_name, model.producer_version, model.doc_string = "other", "1", "text"
    model.graph.doc_string, model.graph.node(0).doc_string = "text", "text"
    model.metadata_props["where"] = "here"
    model.graph.node(0).metadata_props["where"] = "here"
    proto = ir.to_proto(optimise(model))
    assert (proto.ir_version, proto.opset_import[0].version) == (ZOO_IR_VERSION, ZOO_OPSET)
    assert (proto.producer_name, proto.producer_version, proto.doc_string) == ("aimatrix", "", "")
    assert not proto.metadata_props
    assert b"text" not in proto.SerializeToString()
    assert b"here" not in proto.SerializeToString()


def test_every_value_has_a_shape_with_the_batch_in_it() -> None:
    for node in optimise(network()).graph:
        shape = node.outputs[0].shape
        assert shape is not None
        assert str(shape[0]) == "batch"


def test_every_node_has_a_name_of_its_own() -> None:
    names = [node.name for node in optimise(network()).graph]
    assert all(names)
    assert len(set(names)) == len(names)


def test_a_subgraph_survives() -> None:
    text = """g (float[3] x, bool c) => (float[3] y) {
        o = Tanh(x)
        y = If (c) <then_branch = t () => (float[3] p) { i = Identity(o) p = Relu(i) },
                    else_branch = e () => (float[3] q) { q = Neg(o) }>
    }"""
    model = ir.from_proto(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}'))
    optimised = optimise(model)
    onnx.checker.check_model(ir.to_proto(optimised), full_check=True)
    assert operators(optimised) == {"Tanh": 1, "If": 1, "Relu": 1, "Neg": 1}


def test_each_pass_is_listed_once_save_for_shapes() -> None:
    names = [run.__name__ for run in PASSES]
    assert {name for name in names if names.count(name) > 1} == {"infer_shapes"}
