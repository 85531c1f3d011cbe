"""Rounding with feedback: beside the best rounding there is, found by trying all, and beside the nearest."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest

from calibration.collect import calibrate
from calibration.observers.contract import NotFiniteError
from calibration.observers.patches import MOST_INPUTS, MOST_ROWS, Moments, Window, blocks
from calibration.prepare import Quantisable
from calibration.rounding import round_weights, round_with_feedback, stored_weights
from calibration.write import write_int8
from runtime.tensors import Array
from tests.calibration import tiny


def _error(matrix: Array, steps: Array, scales: Array, moments: Array) -> float:
    """The mean square of what the answers are off by: trace(E M Eᵀ)."""
    off = matrix - steps * scales[:, None]
    return float(np.einsum("oi,ij,oj->", off, moments, off))


def test_on_the_whole_it_lies_between_the_best_of_all_roundings_and_the_nearest() -> None:
    best = nearest = found = 0.0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 5))
        moments, matrix, scales = rows.T @ rows / 40, rng.standard_normal((1, 5)), np.array([0.25])
        floor = np.floor(matrix / scales)
        off = matrix - scales * (floor + np.array(list(product((-1, 0, 1, 2), repeat=5))))
        best += float(np.einsum("oi,ij,oj->o", off, moments, off).min())
        nearest += _error(matrix, np.rint(matrix / scales), scales, moments)
        found += _error(matrix, round_with_feedback(matrix, moments, scales), scales, moments)
    assert best < found < 0.8 * nearest


def test_correlated_inputs_make_each_others_errors_good() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 4)) @ rng.standard_normal((4, 64)) + 0.01 * rng.standard_normal(
        (500, 64)
    )
    moments, matrix = rows.T @ rows / 500, rng.standard_normal((32, 64))
    scales = np.abs(matrix).max(axis=1) / 127
    nearest = _error(matrix, np.rint(matrix / scales[:, None]), scales, moments)
    found = _error(matrix, round_with_feedback(matrix, moments, scales), scales, moments)
    assert found < nearest / 20


def test_inputs_that_have_nothing_to_do_with_each_other_are_rounded_to_the_nearest() -> None:
    matrix = np.random.default_rng(1).standard_normal((8, 6))
    scales = np.abs(matrix).max(axis=1) / 127
    found = round_with_feedback(matrix, np.eye(6), scales)
    np.testing.assert_array_equal(found, np.rint(matrix / scales[:, None]))


WINDOWS = {
    "plain": ("kernel_shape=[3,3]", Window((3, 3))),
    "strided": (
        "kernel_shape=[3,2], strides=[2,1], pads=[1,0,1,1]",
        Window((3, 2), (2, 1), pads=(1, 0, 1, 1)),
    ),
    "dilated": (
        "kernel_shape=[3,3], dilations=[2,2], pads=[2,2,2,2]",
        Window((3, 3), dilations=(2, 2), pads=(2, 2, 2, 2)),
    ),
    "same upper": (
        'kernel_shape=[2,2], strides=[2,2], auto_pad="SAME_UPPER"',
        Window((2, 2), (2, 2), pads=None),
    ),
    "same lower": ('kernel_shape=[2,2], auto_pad="SAME_LOWER"', Window((2, 2), pads=None, upper=False)),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_patches_times_weights_are_the_convolution(tmp_path: Path, name: str) -> None:
    attributes, window = WINDOWS[name]
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((4, 3, *window.kernel)).astype(np.float32)
    images = rng.standard_normal((2, 3, 9, 7)).astype(np.float32)
    text = tiny.graph_text("(float[N,3,9,7] x) => (float[N,4,H,W] y)", f"y = Conv<{attributes}>(x, w)")
    path = tiny.write(tmp_path / "conv.onnx", text, {}, w=weight)
    want = tiny.evaluate(path, {"x": images})[0]
    found = window.patches(images) @ weight.reshape(4, -1).T
    np.testing.assert_allclose(found, want.transpose(0, 2, 3, 1).reshape(-1, 4), rtol=1e-4, atol=1e-4)


def test_moments_are_those_of_all_rows_however_they_come() -> None:
    rows = np.random.default_rng(3).standard_normal((24, 5)).astype(np.float32)
    whole, first, second = Moments(), Moments(), Moments()
    whole.observe(rows)
    first.observe(rows[:8].reshape(2, 4, 5))
    second.observe(rows[8:])
    first.merge(second)
    np.testing.assert_allclose(first.means, [rows.T @ rows / 24], rtol=1e-5)
    np.testing.assert_allclose(first.means, whole.means, rtol=1e-5)
    assert first.rows == 24


def test_a_large_sample_shows_rows_from_all_over() -> None:
    rows = np.zeros((4 * MOST_ROWS, 2), np.float32)
    rows[-4:, 1] = 1
    moments = Moments()
    moments.observe(rows)
    assert moments.rows == MOST_ROWS
    assert moments.means[0][1, 1] > 0


def test_moments_of_many_inputs_are_kept_in_blocks() -> None:
    rows = np.random.default_rng(4).standard_normal((8, 2 * MOST_INPUTS + 1)).astype(np.float32)
    moments = Moments()
    moments.observe(rows)
    whole = rows.T @ rows / 8
    assert [len(mean) for mean in moments.means] == [768, 768, 769]
    for block, mean in zip(blocks(rows.shape[1]), moments.means, strict=True):
        np.testing.assert_allclose(mean, whole[block, block], rtol=1e-4, atol=1e-5)


def test_inputs_that_were_always_zero_are_rounded_to_the_nearest() -> None:
    found = round_with_feedback(np.array([[0.6, -0.4]]), np.zeros((2, 2)), np.array([1.0]))
    np.testing.assert_array_equal(found, [[1, 0]])


def test_not_a_number_is_told() -> None:
    with pytest.raises(NotFiniteError, match="1 NaN or infinite values of 4"):
        Moments().observe(np.array([[1, np.nan], [0, 1]], np.float32))


def test_a_file_of_rounded_weights_is_nearer_to_fp32_and_gives_them_back(tmp_path: Path) -> None:
    graph, feeds = tiny.residual_cnn(tmp_path), list(tiny.images(32))
    ranges = calibrate(graph, feeds, "min-max")
    rounded = round_weights(graph, lambda: feeds)
    assert set(rounded) == {"w1", "w2", "w3_transposed"}
    errors = {}
    for name, values in (("nearest", {}), ("feedback", rounded)):
        path = write_int8(Quantisable(graph, ranges, values), tmp_path / f"{name}.onnx").path
        weights = tiny.with_float_activations(path)
        errors[name] = sum(
            float(np.square(tiny.evaluate(weights, f)[0] - tiny.evaluate(graph, f)[0]).sum()) for f in feeds
        )
    assert errors["feedback"] < 0.7 * errors["nearest"]
    stored = stored_weights(tmp_path / "feedback.onnx")
    assert all((stored[name] == values).all() for name, values in rounded.items())
    scales = {
        t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "feedback.onnx").graph.initializer
    }
    np.testing.assert_allclose(
        stored["w1"] * scales["w1_scale"][:, None, None, None], _constant(graph, "w1"), atol=0.1
    )


def _constant(path: Path, name: str) -> Array:
    tensors = onnx.load(path).graph.initializer
    return next(onnx.numpy_helper.to_array(tensor) for tensor in tensors if tensor.name == name)
