"""INT4 weights: against brute force over scales, ONNX's evaluator, and the runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from calibration.int4 import block_of, store
from calibration.precision import Precision
from calibration.write import PrecisionReport, write_precision
from runtime.errors import CalibrationError
from runtime.tensors import Array
from tests.calibration import tiny


def _int4(graph: Path, keep: tuple[str, ...] = ()) -> PrecisionReport:
    return write_precision(graph, Precision.INT4, graph.with_suffix(".int4.onnx"), keep=keep)


def _without_clipping(weight: Array, block: int) -> Array:
    """The plain way: the greatest magnitude of a block on 7."""
    blocks = weight.reshape(-1, block, weight.shape[1])
    scales = np.maximum(np.abs(blocks).max(axis=1, keepdims=True) / 7, np.finfo(np.float32).tiny)
    restored: Array = (np.clip(np.rint(blocks / scales), -7, 7) * scales).reshape(weight.shape)
    return restored


def _squared_error(weight: Array, restored: Array) -> float:
    return float(np.square(weight.astype(np.float64) - restored).sum())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["normal", "heavy", "one-sided", "zeros"]))
def test_stored_weights_are_never_worse_than_without_clipping(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    drawn = {
        "normal": random.standard_normal((64, 5)),
        "heavy": random.standard_t(2, (64, 5)),
        "one-sided": -np.abs(random.standard_normal((64, 5))),
        "zeros": np.zeros((64, 5)),
    }
    weight = drawn[kind].astype(np.float32)
    stored = store(weight, 32)
    plain = _squared_error(weight, _without_clipping(weight, 32))
    assert _squared_error(weight, stored.restored) <= plain * (1 + 1e-6)
    assert stored.scales.shape == (2, 5)
    assert np.all(stored.scales > 0)
    assert stored.values.min() >= -8
    assert stored.values.max() <= 7


def test_a_block_comes_near_the_best_scale_there_is() -> None:
    """Against a search over 2000 scales a column."""
    weight = np.random.default_rng(5).standard_normal((32, 8)).astype(np.float32)
    best = np.full(8, np.inf)
    for share in np.linspace(0.3, 1.2, 2000):
        scale = np.abs(weight).max(axis=0) / 7 * share
        restored = np.clip(np.rint(weight / scale), -8, 7) * scale
        best = np.minimum(best, np.square(weight - restored).sum(axis=0))
    assert _squared_error(weight, store(weight, 32).restored) <= 1.05 * best.sum()


@pytest.mark.parametrize(("rows", "block"), [(64, 32), (384, 32), (48, 16), (180, 180), (17, 17)])
def test_a_block_divides_the_rows_or_holds_all_of_them(rows: int, block: int) -> None:
    assert block_of(rows) == block


BODY = """
    [wide] a = MatMul(x, w1)  [relu] r = Relu(a)  [turned] b = Gemm<transB=1>(r, w2, c)
    [odd] y = MatMul(b, w3)
"""
SHAPES = {"w1": (64, 48), "w2": (20, 48), "c": (20,), "w3": (20, 4)}


def mlp(folder: Path) -> Path:
    return tiny.write(
        folder / "mlp.onnx", tiny.graph_text("(float[batch,64] x) => (float[batch,4] y)", BODY), SHAPES
    )


def test_the_file_holds_int4_blocks_along_what_is_summed_over(tmp_path: Path) -> None:
    report = _int4(mlp(tmp_path))
    assert report.converted == ("wide", "turned", "odd")
    graph = onnx.load(report.path).graph
    stored = {t.name: t for t in graph.initializer if t.data_type == TensorProto.INT4}
    assert {name: tuple(t.dims) for name, t in stored.items()} == {
        "w1_quantized": (64, 48),
        "w2_quantized": (48, 20),
        "w3_quantized": (20, 4),
    }
    scales = {t.name: tuple(t.dims) for t in graph.initializer if t.name.endswith("_scale")}
    assert scales == {"w1_scale": (2, 48), "w2_scale": (3, 20), "w3_scale": (4,)}
    assert {tuple(node.input)[2:] for node in graph.node if node.op_type == "DequantizeLinear"} == {()}


def test_the_product_is_that_of_the_restored_weights(tmp_path: Path) -> None:
    graph = mlp(tmp_path)
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(graph).graph.initializer}
    x = np.random.default_rng(2).standard_normal((3, 64)).astype(np.float32)
    hidden = np.maximum(x @ store(weights["w1"], 32).restored, 0)
    turned = hidden @ store(np.ascontiguousarray(weights["w2"].T), 16).restored + weights["c"]
    expected = turned @ store(weights["w3"], 20).restored
    [found] = tiny.evaluate(_int4(graph).path, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_inputs_and_outputs_stay(tmp_path: Path) -> None:
    graph = tiny.attention(tmp_path)
    assert tiny.interface(_int4(graph).path) == tiny.interface(graph)


def test_what_stays_float_says_why(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[batch,16,16] x, int64[batch] i) => (float[batch,16,16] y, float[batch,16] e, float[n,2] z)",
        """[conv] c = Conv<pads=[1,1]>(x, k)  [scores] s = MatMul(c, c)  [stacked] t = MatMul(s, cube)
        [stored] y = MatMul(t, w)  [table] e = Gather(rows, i)
        part = Slice(e, zero, eight, axis)  [few] z = MatMul(part, small)
        h = OneHot(i, depth, values)  [looked_up] o = MatMul(h, rows)""",
    )
    shapes = {
        "k": (16, 16, 3), "cube": (1, 16, 16), "w": (16, 16), "rows": (100, 16), "small": (8, 2),
    }  # fmt: skip
    constants = {"zero": np.array([0]), "eight": np.array([8]), "axis": np.array([1]), "depth": np.array(100)}
    constants["values"] = np.array([0, 1], np.float32)
    graph = tiny.write(tmp_path / "g.onnx", text, shapes, **constants)
    report = _int4(graph)
    assert report.converted == ("stored",)
    assert dict(report.skipped) == {
        "conv": "no runtime multiplies by int4 weights there",
        "scores": "it multiplies by no constant",
        "stacked": "its weights are no float32 matrix",
        "few": "of fewer than 16 rows int4 saves nothing",
        "looked_up": "it looks up rows of a table",
    }
    types = {t.name: t.data_type for t in onnx.load(report.path).graph.initializer}
    assert types["rows"] == TensorProto.FLOAT


def test_an_odd_number_of_weights_stays_float(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[batch,17] x) => (float[batch,1] y, float[batch,2] z)",
        "[odd] y = MatMul(x, w)  [even] z = MatMul(x, v)",
    )
    report = _int4(tiny.write(tmp_path / "g.onnx", text, {"w": (17, 1), "v": (17, 2)}))
    assert report.converted == ("even",)
    assert dict(report.skipped) == {"odd": "of an odd number of weights TensorRT fills no whole bytes"}


def test_named_nodes_stay_float(tmp_path: Path) -> None:
    report = _int4(mlp(tmp_path), keep=("wide",))
    assert report.converted == ("turned", "odd")
    assert report.skipped == (("wide", "kept in float to hold the accuracy"),)


def test_shared_weights_are_stored_once(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,16] x) => (float[batch,16] y)", "a = MatMul(x, w) y = MatMul(a, w)")
    graph = onnx.load(_int4(tiny.write(tmp_path / "g.onnx", text, {"w": (16, 16)})).path).graph
    assert [node.op_type for node in graph.node] == ["DequantizeLinear", "MatMul", "MatMul"]


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    graph = mlp(tmp_path)
    assert _int4(graph).path.read_bytes() == _int4(graph).path.read_bytes()


def test_a_graph_without_such_weights_is_refused(tmp_path: Path) -> None:
    match = r"cnn\.onnx has no weights to store as int4: that needs a MatMul or Gemm .*; use fp32, fp16"
    with pytest.raises(CalibrationError, match=match):
        _int4(tiny.residual_cnn(tmp_path))
