"""FP16 and BF16 guided by magnitudes. Oracles: NumPy, the formats' limits, and the FP32 graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from calibration.half import HALF_FORMATS
from calibration.half_ranges import HEADROOM, MagnitudeObserver, Magnitudes, magnitudes_of, observe_magnitudes
from calibration.kept import Kept
from calibration.precision import Precision
from calibration.write import PrecisionReport, write_precision
from runtime.tensors import Array, Feed
from tests.calibration import tiny

FP16, BF16 = HALF_FORMATS[Precision.FP16], HALF_FORMATS[Precision.BF16]
FLOATS = st.floats(-1e5, 1e5, width=32) | st.floats(-(2.0**-13), 2.0**-13, width=32)
OVERFLOWS = "values there come near the end of float16 or lie beyond"
UNDERFLOWS = "values there are too small for float16"


def _one(values: object) -> Array:
    return np.array(values, np.float32)


def _guided(graph: Path, feeds: Sequence[Feed], precision: Precision = Precision.FP16) -> PrecisionReport:
    magnitudes = observe_magnitudes(graph, feeds)
    out = graph.with_suffix(f".{precision}.onnx")
    return write_precision(graph, precision, out, magnitudes=magnitudes)


def _kept(report: PrecisionReport) -> dict[str, Kept]:
    return {kept.node: kept for kept in report.kept}


def _assert_close(graph: Path, written: Path, feeds: Sequence[Feed], bound: float) -> None:
    for feed in feeds:
        for exact, found in zip(tiny.evaluate(graph, feed), tiny.evaluate(written, feed), strict=True):
            np.testing.assert_allclose(found, exact, rtol=bound, atol=bound * np.abs(exact).max())


# What is seen


@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_magnitudes_are_those_of_numpy(values: list[float]) -> None:
    array = np.array(values, np.float32)
    seen = magnitudes_of(array)
    assert (seen.minimum, seen.maximum) == (min(0.0, array.min()), max(0.0, array.max()))
    small = np.abs(array) < 2.0**-14
    exact = array.astype(np.float64)
    error = np.where(small, exact - array.clip(-1, 1).astype(np.float16).astype(np.float64), 0)
    energy = np.square(exact).sum()
    assert seen.lost == pytest.approx(np.square(error).sum() / energy if energy else 0.0, rel=1e-6)


def test_infinities_do_not_count_and_nothing_is_zero() -> None:
    assert magnitudes_of(_one([np.inf, -np.inf, 3])) == Magnitudes(0.0, 3.0, 0.0)
    assert magnitudes_of(_one([])) == magnitudes_of(_one([0, 0])) == Magnitudes(0.0, 0.0, 0.0)


def test_a_magnitude_of_float32s_end_is_no_overflow() -> None:
    far = float(np.finfo(np.float32).max)
    assert magnitudes_of(_one([far, -far])).amax == far


def test_order_and_sharing_out_change_nothing() -> None:
    samples = [_one([1e-7, 2e-6]), _one([70000, -3]), _one([0, 1e-5])]
    found = set()
    for order in permutations(samples):
        whole, first, second = MagnitudeObserver(), MagnitudeObserver(), MagnitudeObserver()
        for sample in order:
            whole.observe(sample)
        first.observe(order[0])
        for sample in order[1:]:
            second.observe(sample)
        first.merge(second)
        found |= {whole.magnitudes(), first.magnitudes()}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("seen", "fp16", "bf16"),
    [
        (Magnitudes(-1.0, 1.0, 0.0), None, None),
        (Magnitudes(-65504 / HEADROOM, 1.0, 0.0), None, None),
        (Magnitudes(-65504.0, 1.0, 0.0), OVERFLOWS, None),
        (Magnitudes(0.0, 65504 / HEADROOM + 1, 0.0), OVERFLOWS, None),
        (Magnitudes(0.0, 2.0e38, 0.0), OVERFLOWS, OVERFLOWS.replace("float16", "bfloat16")),
        (Magnitudes(-1.0, 1.0, 2.0**-17), None, None),
        (Magnitudes(0.0, 1e-9, 1.0), UNDERFLOWS, None),
    ],
)
def test_what_is_for_a_format_and_what_is_not(seen: Magnitudes, fp16: str | None, bf16: str | None) -> None:
    assert FP16.reason_against(seen) == fp16
    assert BF16.reason_against(seen) == bf16


def test_every_float_tensor_is_observed_by_its_name(tmp_path: Path) -> None:
    graph, feeds = tiny.attention(tmp_path), list(tiny.sentences(3))
    found = observe_magnitudes(graph, feeds)
    [qk] = zip(*(tiny.evaluate(graph, feed, "qk") for feed in feeds), strict=True)
    assert found["qk"].maximum == pytest.approx(max(float(array.max()) for array in qk), rel=1e-5)
    assert found["mb"].minimum == -1e9
    assert {"x", "y", "probabilities"} <= found.keys()
    assert "mask" not in found  # integers
    assert "far" not in found  # a constant


# What comes right


MASKED = """
    [scaled] s = Mul(x, k)  [masked] m = Where(keep, s, padding)  [softmax] p = Softmax<axis=-1>(m)
    [out] y = MatMul(p, values)
"""


def test_the_mask_of_din_and_dien_stays_float_with_its_range(tmp_path: Path) -> None:
    """-2**32 + 1 in place of what is padded, before a softmax."""
    padding = -(2.0**32) + 1
    graph = tiny.write(
        tmp_path / "g.onnx",
        tiny.graph_text("(float[batch,8] x, bool[batch,8] keep) => (float[batch,3] y)", MASKED),
        {"values": (8, 3)},
        k=_one(0.5),
        padding=_one(padding),
    )
    x = np.linspace(-4, 4, 16, dtype=np.float32).reshape(2, 8)
    feeds = [
        {"x": x, "keep": np.arange(8) < np.array([[5], [2]])},
        {"x": x[:1], "keep": np.zeros((1, 8), bool)},  # all padded: the mean of all values
    ]
    report = _guided(graph, feeds)
    _assert_close(graph, report.path, feeds, 4 * 2.0**-11)
    kept = _kept(report)
    assert kept.keys() == {"scaled", "masked", "softmax"}  # the first since it scales an input
    assert kept["masked"] == Kept("masked", OVERFLOWS, "m", float(np.float32(padding)), float(x[1, 1] / 2))
    assert kept["softmax"].tensor == "m"
    assert "out" in report.converted


def test_the_mask_of_bert_needs_no_exception(tmp_path: Path) -> None:
    """-10000 fits float16, with all that is added to it."""
    body = """[lifted] r = Relu(x)  [inverse] n = Sub(one, mask)  [far] f = Mul(n, minus)
        [masked] m = Add(r, f)  [softmax] y = Softmax<axis=-1>(m)"""
    text = tiny.graph_text("(float[batch,8] x, float[batch,8] mask) => (float[batch,8] y)", body)
    graph = tiny.write(tmp_path / "g.onnx", text, {}, one=_one(1), minus=_one(-10000))
    x = np.linspace(0, 5, 16, dtype=np.float32).reshape(2, 8)
    feeds = [{"x": x, "mask": (np.arange(8) < np.array([[5], [0]])).astype(np.float32)}]
    report = _guided(graph, feeds)
    assert report.kept == ()
    first = [{"x": x[:1], "mask": feeds[0]["mask"][:1]}]
    _assert_close(graph, report.path, first, 8 * 2.0**-11)
    [all_padded] = tiny.evaluate(report.path, {"x": x[1:], "mask": feeds[0]["mask"][1:]})
    assert np.isfinite(all_padded).all()


def test_a_mask_that_is_added_twice_is_not_infinite(tmp_path: Path) -> None:
    """Clamped to -65504 and added to itself it would be minus infinity, and the softmax NaN."""
    graph = tiny.write(
        tmp_path / "g.onnx",
        tiny.graph_text(
            "(float[batch,4] x, float[batch,4] mask) => (float[batch,4] y)",
            """[far] f = Mul(mask, minus)  [once] a = Add(x, f)  [twice] b = Add(a, f)
            [softmax] y = Softmax<axis=-1>(b)""",
        ),
        {},
        minus=_one(-1e9),
    )
    feeds = [{"x": _one([[1, 2, 3, 4]]), "mask": np.ones((1, 4), np.float32)}]
    unguided = write_precision(graph, Precision.FP16, tmp_path / "unguided.onnx")
    with np.errstate(invalid="ignore"):
        assert np.isnan(tiny.evaluate(unguided.path, feeds[0])[0]).all()
    _assert_close(graph, _guided(graph, feeds).path, feeds, 4 * 2.0**-11)


@pytest.mark.parametrize("size", [1e-5, 1.0, 300.0])
def test_l2_normalisation_holds_at_every_size(tmp_path: Path, size: float) -> None:
    """Squares of 1e-5 are below all of float16, of 300 beyond it."""
    body = """[lift] r = Relu(x)  [square] q = Mul(r, r)  [sum] t = ReduceSum(q, axes)
        [floor] m = Max(t, least)  [root] d = Sqrt(m)  [unit] u = Div(r, d)  [out] y = MatMul(u, w)"""
    text = tiny.graph_text("(float[batch,16] x) => (float[batch,4] y)", body)
    constants = {"axes": np.array([1]), "least": _one(1e-12)}
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (16, 4)}, **constants)
    x = np.abs(np.random.default_rng(0).standard_normal((3, 16))).astype(np.float32) * np.float32(size)
    report = _guided(graph, [{"x": x}])
    _assert_close(graph, report.path, [{"x": x}], 16 * 2.0**-11)
    assert "out" in report.converted
    assert _kept(report)["sum"].maximum == pytest.approx(float(np.square(x).sum(axis=1).max()), rel=1e-5)


def test_small_values_that_are_scaled_up_again_are_not_lost(tmp_path: Path) -> None:
    body = "[lift] r = Relu(x)  [tiny] s = MatMul(r, w)  [up] y = MatMul(s, v)"
    text = tiny.graph_text("(float[batch,8] x) => (float[batch,8] y)", body)
    graph = tiny.write(
        tmp_path / "g.onnx",
        text,
        {},
        w=np.eye(8, dtype=np.float32) * np.float32(2.0**-13),
        v=np.eye(8, dtype=np.float32) * np.float32(2.0**13),
    )
    x = np.random.default_rng(0).uniform(0, 0.01, (2, 8)).astype(np.float32)
    unguided = write_precision(graph, Precision.FP16, tmp_path / "unguided.onnx")
    [lossy] = tiny.evaluate(unguided.path, {"x": x})
    assert np.linalg.norm(lossy - x) > 0.01 * np.linalg.norm(x)
    report = _guided(graph, [{"x": x}])
    _assert_close(graph, report.path, [{"x": x}], 4 * 2.0**-11)
    assert _kept(report)["tiny"].reason == UNDERFLOWS
    assert _kept(report)["tiny"].tensor == "s"


def test_weights_that_are_too_small_are_not_lost(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[batch,8] x) => (float[batch,8] y)", "[large] r = Relu(x)  [dot] y = MatMul(r, w)"
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {}, w=np.full((8, 8), 1e-7, np.float32))
    feeds = [{"x": np.full((1, 8), 1e4, np.float32)}]
    report = _guided(graph, feeds)
    assert report.skipped == (("dot", "it has a constant that float16 cannot hold"),)
    _assert_close(graph, report.path, feeds, 2.0**-11)


@pytest.mark.parametrize("precision", HALF_FORMATS)
def test_a_large_sum_of_products_stays_finite(tmp_path: Path, precision: Precision) -> None:
    """4096 products of 32 are 131072: beyond float16, within bfloat16."""
    text = tiny.graph_text(
        "(float[batch,4096] x) => (float[batch,2] y)",
        "[lift] r = Relu(x)  [dot] d = MatMul(r, w)  [down] y = Mul(d, k)",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {}, w=np.ones((4096, 2), np.float32), k=_one(2.0**-10))
    feeds = [{"x": np.full((1, 4096), 32, np.float32)}]
    report = _guided(graph, feeds, precision)
    [found] = tiny.evaluate(report.path, feeds[0])
    np.testing.assert_allclose(found, 128.0, rtol=2.0**-8)
    if precision is Precision.FP16:
        assert _kept(report)["dot"] == Kept("dot", OVERFLOWS, "d", 0.0, 131072.0)
    else:
        assert report.kept == ()


def test_boxes_are_decoded_in_float(tmp_path: Path) -> None:
    """Sizes are exponentials, times the anchors'; beyond 2048 float16 does not count in ones."""
    body = """[head] r = MatMul(x, w)  [sizes] e = Exp(r)  [scaled] s = Mul(e, anchors)
        [moved] boxes = Add(s, anchors)  [best] score, i = TopK(boxes, one)  y = Cast<to=1>(i)"""
    text = tiny.graph_text("(float[batch,4] x) => (float[batch,4] boxes, float[batch,1] y)", body)
    constants = {"anchors": _one([4097, 4098, 4099, 4100]), "one": np.array([1])}
    graph = tiny.write(tmp_path / "g.onnx", text, {}, w=np.zeros((4, 4), np.float32), **constants)
    feeds = [{"x": np.ones((1, 4), np.float32)}]
    report = _guided(graph, feeds)
    boxes, best = tiny.evaluate(report.path, feeds[0])
    assert boxes.tolist() == [[8194, 8196, 8198, 8200]]
    assert best.tolist() == [[3]]
    assert _kept(report)["scaled"].maximum == 4100


def test_inputs_beyond_the_format_are_read_in_float(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[batch,4] x) => (float[batch,4] y)", "[far] d = Sub(x, k)  [dot] y = MatMul(d, w)"
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (4, 4)}, k=_one(1e6))
    feeds = [{"x": _one([[1e6, 1e6 + 1, 1e6 - 2, 1e6 + 8]])}]
    report = _guided(graph, feeds)
    _assert_close(graph, report.path, feeds, 4 * 2.0**-11)
    assert _kept(report)["far"].tensor == "x"


def test_without_magnitudes_there_are_no_ranges(tmp_path: Path) -> None:
    graph = tiny.attention(tmp_path)
    report = write_precision(graph, Precision.FP16, tmp_path / "out.onnx")
    assert all(kept.tensor is None and kept.minimum is None for kept in report.kept)


def test_a_graph_whose_values_fit_is_converted_as_without_them(tmp_path: Path) -> None:
    graph = tiny.residual_cnn(tmp_path)
    guided = _guided(graph, list(tiny.images(3))).path.read_bytes()
    assert guided == write_precision(graph, Precision.FP16, tmp_path / "out.onnx").path.read_bytes()


def test_a_mask_keeps_its_own_value_where_it_stays_float(tmp_path: Path) -> None:
    path = _guided(tiny.attention(tmp_path), list(tiny.sentences(3))).path
    far = next(t for t in onnx.load(path).graph.initializer if t.name == "far")
    assert far.data_type == TensorProto.FLOAT
