from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from calibration.collect import calibrate
from calibration.observers import OBSERVERS
from calibration.ranges import Ranges
from runtime.errors import CalibrationError, FeedError, UnavailableError, UsageError
from runtime.graphs import graph_digest
from runtime.tensors import Array, Feed
from tests.calibration import tiny

T = TypeVar("T")


def test_ranges_are_those_of_the_reference_evaluator(tmp_path: Path) -> None:
    graph = tiny.residual_cnn(tmp_path)
    ranges = calibrate(graph, tiny.images(5), "min-max")
    names = list(ranges.tensors)
    assert set(names) == {"images", "r1", "c2", "r2", "g"}
    runs = [[feed["images"], *tiny.evaluate(graph, feed, *names[1:])] for feed in tiny.images(5)]
    assert names[0] == "images"
    for name, arrays in zip(names, zip(*runs, strict=True), strict=True):
        everything = np.stack(arrays)
        found = ranges.tensors[name]
        # float32 sums of up to 72 products in another order: a few units in the last place.
        expected = [everything.min(), everything.max(), np.abs(everything).max()]
        assert [found.minimum, found.maximum, found.amax] == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("method", OBSERVERS)
def test_the_same_samples_give_the_same_bits_however_they_are_batched(tmp_path: Path, method: str) -> None:
    graph = tiny.residual_cnn(tmp_path)
    singly = calibrate(graph, tiny.images(6), method)
    assert singly.samples == 6
    assert calibrate(graph, tiny.images(6, batch=4), method) == singly
    assert calibrate(graph, reversed(list(tiny.images(6))), method) == singly


def test_a_fixed_batch_is_run_whole(tmp_path: Path) -> None:
    text = tiny.RESIDUAL_CNN.replace("batch", "4")
    graph = tiny.write(tmp_path / "fixed.onnx", text, tiny.RESIDUAL_CNN_SHAPES)
    fixed = calibrate(graph, tiny.images(8, batch=4), "min-max")
    free = calibrate(tiny.residual_cnn(tmp_path), tiny.images(8), "min-max")
    assert fixed.samples == 8
    for name, found in free.tensors.items():
        assert fixed.tensors[name].amax == pytest.approx(found.amax, rel=1e-5)


def test_provenance_is_kept(tmp_path: Path) -> None:
    graph = tiny.attention(tmp_path)
    ranges = calibrate(graph, tiny.sentences(3), "percentile")
    assert (ranges.method, ranges.samples, ranges.graph) == ("percentile:99.99", 3, graph_digest(graph))
    ranges.save(tmp_path / "ranges.json")
    assert Ranges.load(tmp_path / "ranges.json") == ranges


def test_no_feed_is_kept(tmp_path: Path) -> None:
    alive: list[weakref.ref[Array]] = []
    most = 0

    def feeds() -> Iterator[Feed]:
        nonlocal most
        for index in range(12):
            array = np.random.default_rng(index).standard_normal((1, 3, 16, 16)).astype(np.float32)
            alive.append(weakref.ref(array))
            most = max(most, sum(reference() is not None for reference in alive))
            yield {"images": array}

    calibrate(tiny.residual_cnn(tmp_path), feeds(), "min-max")
    assert most <= 3


def test_progress_is_told_of_every_sample(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        for item in items:
            seen.append((description, len(seen)))
            yield item

    calibrate(tiny.residual_cnn(tmp_path), tiny.images(4, batch=2), "min-max", progress)
    assert seen == [("calibrating (min-max)", index) for index in range(4)]


def test_nan_inside_the_graph_names_the_tensor_and_the_sample(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,4] x) => (float[batch,n] y)", "r = Sqrt(x) y = MatMul(r, w)")
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (4, 2)})
    feed = {"x": np.array([[1, 1, 2, 3], [1, -1, 2, 3]], np.float32)}
    complaint = (
        "tensor 'r' holds 1 NaN or infinite values of 4 in sample 2 of the calibration; check the FP32"
    )
    with pytest.raises(CalibrationError, match=complaint):
        calibrate(graph, [feed])


def test_no_feeds_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"no feeds to calibrate .*cnn\.onnx on; give at least one"):
        calibrate(tiny.residual_cnn(tmp_path), [])


def test_a_feed_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="input 'images' is float64, the graph wants float32"):
        calibrate(tiny.residual_cnn(tmp_path), [{"images": np.zeros((1, 3, 16, 16))}])


def test_an_unknown_method_offers_the_near_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown calibration method 'minmax': did you mean min-max"):
        calibrate(tiny.residual_cnn(tmp_path), tiny.images(1), "minmax")


def test_a_graph_with_nothing_to_quantise_says_what_it_holds(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,4] x) => (float[batch,n] y)", "r = Relu(x) y = Tanh(r)")
    graph = tiny.write(tmp_path / "g.onnx", text, {})
    with pytest.raises(
        CalibrationError, match=r"nothing to quantise: .* the graph holds Relu, Tanh; use fp32"
    ):
        calibrate(graph, [{"x": np.zeros((1, 4), np.float32)}])


def test_without_onnxruntime_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnavailableError, match=r"onnxruntime, which is not installed; pip install"):
        calibrate(tiny.residual_cnn(tmp_path), tiny.images(1))
