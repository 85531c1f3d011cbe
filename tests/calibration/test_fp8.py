"""FP8 graphs: placed as INT8 is where FP8 has kernels, and computing what ONNX's evaluator says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from calibration.collect import calibrate
from calibration.precision import Precision
from calibration.write import PrecisionReport, write_precision
from runtime.errors import CalibrationError
from runtime.tensors import Array, Feed
from tests.calibration import tiny


def _fp8(graph: Path, samples: Sequence[Feed], keep: Sequence[str] = ()) -> PrecisionReport:
    ranges = calibrate(graph, samples)
    return write_precision(graph, Precision.FP8, graph.with_suffix(".fp8.onnx"), ranges, keep)


def _readers(path: Path) -> dict[str, list[str]]:
    """Each node's name to the types of operator that make its inputs."""
    graph = onnx.load(path).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    return {node.name: [makers.get(name, "") for name in node.input] for node in graph.node}


def test_products_read_fp8_and_nothing_else_does(tmp_path: Path) -> None:
    report = _fp8(tiny.wide_cnn(tmp_path), list(tiny.wide_images(4)))
    assert report.converted == ("first", "second", "classify")
    readers = _readers(report.path)
    assert {name for name, makers in readers.items() if "DequantizeLinear" in makers} == set(report.converted)
    assert readers["first"] == ["DequantizeLinear", "DequantizeLinear", ""]
    assert readers["relu"] == ["Conv"]


def test_scales_are_the_greatest_seen_over_448_and_zero_points_fp8_zeros(tmp_path: Path) -> None:
    graph, samples = tiny.wide_cnn(tmp_path), list(tiny.wide_images(4))
    path = _fp8(graph, samples).path
    constants = {t.name: t for t in onnx.load(path).graph.initializer}
    greatest = max(np.abs(tiny.evaluate(graph, feed, "p1")[0]).max() for feed in samples)
    # calibration runs on ONNX Runtime, which adds up in another order than the evaluator
    assert float(numpy_helper.to_array(constants["p1_scale"])) == pytest.approx(greatest / 448, rel=1e-6)
    zeros = [t for name, t in constants.items() if "zero_point" in name]
    assert zeros
    assert all(t.data_type == TensorProto.FLOAT8E4M3FN for t in zeros)
    assert not any(numpy_helper.to_array(t).astype(np.float32).any() for t in zeros)


def _rounded(values: Array, amax: Array | float) -> Array:
    """As FP8 holds it, computed with NumPy and ml_dtypes alone."""
    scale = np.asarray(np.asarray(amax, np.float64) / 448, np.float32)
    steps = np.clip(values / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    rounded: Array = steps.astype(np.float32) * scale
    return rounded


def test_a_product_is_that_of_the_rounded_operands(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,32] x) => (float[batch,8] y)", "[product] y = MatMul(x, w)")
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (32, 8)})
    [weight] = [numpy_helper.to_array(t) for t in onnx.load(graph).graph.initializer]
    x = np.random.default_rng(1).standard_normal((5, 32)).astype(np.float32)
    path = _fp8(graph, [{"x": x}]).path
    expected = _rounded(x, np.abs(x).max()) @ _rounded(weight, np.abs(weight).max(axis=0))
    np.testing.assert_allclose(tiny.evaluate(path, {"x": x})[0], expected, rtol=1e-5, atol=1e-5)


def test_attention_is_within_the_rounding_of_fp8(tmp_path: Path) -> None:
    graph, samples = tiny.attention(tmp_path), list(tiny.sentences(4))
    report = _fp8(graph, samples)
    assert report.converted == ("q", "k", "scores", "v", "out")
    for feed in samples:
        [exact], [found] = tiny.evaluate(graph, feed), tiny.evaluate(report.path, feed)
        # two products deep, each of two operands rounded to within 2**-4; errors add as in a random walk
        assert np.linalg.norm(found - exact) <= 2**0.5 * 2 * 2.0**-4 * np.linalg.norm(exact)
        assert np.any(found != exact)


@pytest.mark.parametrize(
    ("weights", "kernel"), [((24, 16, 3, 3), 3), ((16, 16, 7, 7), 7), ((16, 16, 2, 2), 0)]
)
def test_what_has_no_fp8_kernel_stays_float_and_says_why(
    tmp_path: Path, weights: tuple[int, ...], kernel: int
) -> None:
    """Of 24 channels; of 49 taps; a transposed one."""
    operator = "Conv" if kernel else "ConvTranspose"
    text = tiny.graph_text(
        "(float[batch,16,8,8] x) => (float[batch,n,h,v] y, float[batch,16,8,8] z)",
        f"[odd] y = {operator}(x, w)  [fine] z = Conv(x, v)",
    )
    samples = [{"x": next(tiny.wide_images(1))["images"]}]
    report = _fp8(tiny.write(tmp_path / "g.onnx", text, {"w": weights, "v": (16, 16, 1, 1)}), samples)
    unfit = "FP8 convolutions want channels in multiples of 16 and at most 32 taps a filter"
    reason = unfit if kernel else "TensorRT has FP8 kernels for Conv, Gemm and MatMul only"
    assert report.skipped == (("odd", reason),)
    assert report.converted == ("fine",)


def test_named_nodes_stay_float(tmp_path: Path) -> None:
    report = _fp8(tiny.wide_cnn(tmp_path), list(tiny.wide_images(4)), keep=["second"])
    assert report.converted == ("first", "classify")
    assert report.skipped == (("second", "kept in float to hold the accuracy"),)


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    graph = tiny.wide_cnn(tmp_path)
    assert (
        _fp8(graph, list(tiny.wide_images(4))).path.read_bytes()
        == _fp8(graph, list(tiny.wide_images(4))).path.read_bytes()
    )


def test_fp8_without_ranges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"fp8 of .*wide_cnn\.onnx needs calibrated ranges, got none"):
        write_precision(tiny.wide_cnn(tmp_path), Precision.FP8, tmp_path / "out.onnx")


def test_a_graph_that_fp8_has_no_kernel_for_is_refused(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,3,8,8] x) => (float[batch,8,6,6] y)", "[odd] y = Conv(x, w)")
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (8, 3, 3, 3)})
    with pytest.raises(
        CalibrationError, match=r"nothing to store as fp8: FP8 convolutions want .*; use fp16"
    ):
        _fp8(graph, [{"x": np.ones((1, 3, 8, 8), np.float32)}])
