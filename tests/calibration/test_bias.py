"""Corrected biases: answers that are right on average, which is what they are for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calibration.bias import corrected_biases, stored_biases
from calibration.collect import calibrate
from calibration.mixture import Apart
from calibration.observers.contract import NotFiniteError
from calibration.observers.patches import MeanRow, Window
from calibration.prepare import Quantisable
from calibration.rounding import round_weights
from calibration.write import write_int8
from runtime.tensors import Array, Feed
from tests.calibration import tiny

ROWS = 40


def product(folder: Path) -> tuple[Path, list[Feed]]:
    """A product with a bias, and inputs with a mean of their own."""
    rng = np.random.default_rng(0)
    text = tiny.graph_text("(float[batch,24] x) => (float[batch,8] y)", "p = MatMul(x, w)  y = Add(p, b)")
    weight, bias = rng.standard_normal((24, 8)), rng.standard_normal(8)
    path = tiny.write(
        folder / "product.onnx", text, {}, w=weight.astype(np.float32), b=bias.astype(np.float32)
    )
    rows = (rng.standard_normal((ROWS, 24)) + rng.standard_normal(24)).astype(np.float32)
    return path, [{"x": row[np.newaxis]} for row in rows]


def convolution(folder: Path) -> tuple[Path, list[Feed]]:
    rng = np.random.default_rng(1)
    text = tiny.graph_text(
        "(float[batch,3,8,8] x) => (float[batch,5,8,8] y)", "y = Conv<pads=[1,1,1,1]>(x, w, b)"
    )
    weight, bias = rng.standard_normal((5, 3, 3, 3)), rng.standard_normal(5)
    path = tiny.write(folder / "conv.onnx", text, {}, w=weight.astype(np.float32), b=bias.astype(np.float32))
    images = (rng.standard_normal((ROWS, 3, 8, 8)) + 1.0).astype(np.float32)
    return path, [{"x": image[np.newaxis]} for image in images]


def means(path: Path, feeds: list[Feed]) -> Array:
    """Of each output channel, over all feeds and places."""
    answers = np.concatenate([tiny.evaluate(path, feed)[0] for feed in feeds]).astype(np.float64)
    found: Array = answers.mean(axis=(0, *range(2, answers.ndim)))
    return found


@pytest.mark.parametrize("network", [product, convolution])
@pytest.mark.parametrize("feedback", [False, True])
def test_on_average_the_answers_are_those_of_the_float_weights(
    tmp_path: Path, network: Callable[[Path], tuple[Path, list[Feed]]], feedback: bool
) -> None:
    graph, feeds = network(tmp_path)
    ranges = calibrate(graph, feeds, "min-max")
    rounded = round_weights(graph, lambda: feeds) if feedback else {}
    biases = corrected_biases(graph, lambda: feeds, rounded)
    off = []
    for corrected in ({}, biases):
        path = write_int8(Quantisable(graph, ranges, rounded, corrected), tmp_path / "int8.onnx").path
        found = means(tiny.with_float_activations(path), feeds)
        off.append(float(np.abs(found - means(graph, feeds)).max()))
    assert off[1] < 1e-6 < off[0]


def test_an_int8_file_gives_its_biases_back(tmp_path: Path) -> None:
    graph, feeds = tiny.residual_cnn(tmp_path), list(tiny.images(8))
    biases = corrected_biases(graph, lambda: feeds, {})
    assert biases
    quantisable = Quantisable(graph, calibrate(graph, feeds, "min-max"), {}, biases)
    stored = stored_biases(write_int8(quantisable, tmp_path / "int8.onnx").path)
    for name, bias in biases.items():
        np.testing.assert_array_equal(stored[name], bias)


def test_a_layer_that_is_kept_in_float_keeps_its_bias(tmp_path: Path) -> None:
    graph, feeds = tiny.residual_cnn(tmp_path), list(tiny.images(8))
    quantisable = Quantisable(
        graph, calibrate(graph, feeds, "min-max"), {}, corrected_biases(graph, lambda: feeds, {})
    )
    kept, *_ = quantisable.biases
    stored = stored_biases(write_int8(quantisable, tmp_path / "mixed.onnx", Apart([kept])).path)
    np.testing.assert_array_equal(stored[kept], stored_biases(graph)[kept])
    assert np.any(stored[kept] != quantisable.biases[kept])


def test_a_layer_without_a_bias_stays_as_it_is(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,4] x) => (float[batch,4] y)", "y = MatMul(x, w)")
    path = tiny.write(tmp_path / "plain.onnx", text, {}, w=np.eye(4, dtype=np.float32))
    assert corrected_biases(path, lambda: [{"x": np.ones((1, 4), np.float32)}], {}) == {}


def test_a_sum_with_more_than_a_bias_stays_as_it_is(tmp_path: Path) -> None:
    """A table of places is added, too: a value for each output and place."""
    text = tiny.graph_text("(float[batch,3,4] x) => (float[batch,3,4] y)", "p = MatMul(x, w)  y = Add(p, b)")
    table = np.ones((3, 4), np.float32)
    path = tiny.write(tmp_path / "places.onnx", text, {}, w=np.eye(4, dtype=np.float32), b=table)
    assert corrected_biases(path, lambda: [{"x": np.ones((1, 3, 4), np.float32)}], {}) == {}


def test_the_mean_row_is_that_of_all_rows_however_they_come() -> None:
    rows = np.random.default_rng(3).standard_normal((24, 5)).astype(np.float32)
    first, second = MeanRow(), MeanRow()
    first.observe(rows[:8].reshape(2, 4, 5))
    second.observe(rows[8:])
    first.merge(second)
    np.testing.assert_allclose(first.mean, rows.mean(axis=0), rtol=1e-5)


def test_of_images_it_is_the_mean_patch() -> None:
    images = np.random.default_rng(4).standard_normal((2, 1, 4, 4)).astype(np.float32)
    mean = MeanRow(Window((4, 4)))
    mean.observe(images)
    np.testing.assert_allclose(mean.mean, images.mean(axis=0).ravel(), rtol=1e-5)


def test_not_a_number_is_told() -> None:
    with pytest.raises(NotFiniteError, match="1 NaN or infinite values of 4"):
        MeanRow().observe(np.array([[1, np.nan], [0, 1]], np.float32))
