"""What is stored in uint8 behind a ReLU: the same bits, and only where that is so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.backend import SessionOptions
from runtime.backends import get_backend
from runtime.lowering_positive import POSITIVE, store_positive_as_uint8
from runtime.tensors import Array, Feed
from tests.models import CONV_CHAIN, INT8, INT8_CONV, TinyModel

onnxruntime = pytest.importorskip("onnxruntime")

each_int8_model = pytest.mark.parametrize("model", INT8, ids=[model.name for model in INT8])


def run(model: ir.Model, feed: Feed) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feed)))


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
    for ours, theirs in zip(run(changed, feed), run(model.build(**chosen), feed), strict=True):
        np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


@each_int8_model
def test_it_finds_the_relus_that_only_a_q_reads(model: TinyModel) -> None:
    changed = model.build()
    relus = [node for node in changed.graph if node.op_type == "Relu"]
    alone = [
        node for node in relus if [use.node.op_type for use in node.outputs[0].uses()] == ["QuantizeLinear"]
    ]
    assert store_positive_as_uint8(changed) == len(alone)
    unsigned = [v for v in (n.outputs[0] for n in changed.graph) if v.dtype == ir.DataType.UINT8]
    assert len(unsigned) == len(alone)


def test_some_model_has_such_relus() -> None:
    assert any(store_positive_as_uint8(model.build()) for model in INT8)


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
