"""What is stored in uint8 behind a ReLU: the same bits, and only where that is so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.backend import SessionOptions
from runtime.backends import get_backend
from runtime.lowering_positive import POSITIVE, store_positive_as_uint8
from tests.models import CONV_CHAIN, INT8, INT8_CONV, TinyModel
from tests.runtime.test_lowering import each_int8_model, run_plainly


@each_int8_model
@settings(max_examples=15, deadline=None)
@given(
    scales=st.lists(st.floats(2**-10, 1, width=32), min_size=4, max_size=4),
    loudness=st.sampled_from([0.01, 1.0, 100.0]),  # within one step; as calibrated; mostly beyond the range
    seed=st.integers(0, 99),
)
def test_without_optimisations_not_a_bit_differs(
    model: TinyModel, scales: list[float], loudness: float, seed: int
) -> None:
    chosen = dict(zip(model.scales, scales, strict=False))
    feed = {name: array * np.float32(loudness) for name, array in model.feed(seed=seed).items()}
    changed = model.build(**chosen)
    store_positive_as_uint8(changed)
    for ours, theirs in zip(
        run_plainly(changed, feed), run_plainly(model.build(**chosen), feed), strict=True
    ):
        np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


@each_int8_model
def test_it_finds_the_relus_that_only_a_q_reads(model: TinyModel) -> None:
    changed = model.build()
    relus = [node for node in changed.graph if node.op_type == "Relu"]
    alone = [
        node for node in relus if [use.node.op_type for use in node.outputs[0].uses()] == ["QuantizeLinear"]
    ]
    assert store_positive_as_uint8(changed) >= len(alone)
    assert not {node.name for node in alone} & {node.name for node in changed.graph}


MOVED = """
    r = Relu(x)  rq = QuantizeLinear(r, s, z)  rd = DequantizeLinear(rq, s, z)
    p = MaxPool<kernel_shape=[2,2]>(rd)  pq = QuantizeLinear(p, S, z)  pd = DequantizeLinear(pq, S, z)
    c = Concat<axis=1>(pd, OTHER)  cq = QuantizeLinear(c, s, z)  y = DequantizeLinear(cq, s, z)
"""


@pytest.mark.parametrize(
    ("pool_scale", "other", "count"), [("s", "pd", 3), ("t", "pd", 1), ("s", "xd", 2)],
    ids=["one scale", "another scale", "beside what may be negative"],
)  # fmt: skip
def test_what_is_only_moved_goes_on_in_uint8(pool_scale: str, other: str, count: int) -> None:
    body = "xq = QuantizeLinear(w, s, z) xd = DequantizeLinear(xq, s, z)" + MOVED
    body = body.replace("S", pool_scale).replace("OTHER", other)
    text = f"""<ir_version: 10, opset_import: ["": 22]>
    g (float[1,2,4,4] x, float[1,2,3,3] w) => (float[1,4,3,3] y)
    <float s = {{0.02}}, float t = {{0.013}}, int8 z = {{0}}> {{ {body} }}"""
    proto = onnx.parser.parse_model(text)
    changed = ir.from_proto(proto)
    assert store_positive_as_uint8(changed) == count
    rng = np.random.default_rng(0)
    feed = {
        "x": 3 * rng.standard_normal((1, 2, 4, 4)).astype("f"),
        "w": rng.standard_normal((1, 2, 3, 3)).astype("f"),
    }
    np.testing.assert_array_equal(run_plainly(changed, feed)[0], run_plainly(ir.from_proto(proto), feed)[0])


def test_some_model_has_such_relus() -> None:
    assert any(store_positive_as_uint8(model.build()) for model in INT8)


def test_a_graph_that_was_changed_before_is_changed_again() -> None:
    model = INT8_CONV.build()
    store_positive_as_uint8(model)
    assert store_positive_as_uint8(ir.from_proto(ir.to_proto(model))) == 0


def test_a_float_graph_is_left_alone() -> None:
    model = CONV_CHAIN.build()
    before = ir.to_proto(model).SerializeToString()
    assert store_positive_as_uint8(model) == 0
    assert ir.to_proto(model).SerializeToString() == before


def test_openvino_says_that_it_did_so(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = INT8_CONV.write(tmp_path)
    with get_backend("openvino").open(path, "cpu", SessionOptions(threads=1)) as session:
        session.run(INT8_CONV.feed())
        assert session.executed().lowering == POSITIVE
