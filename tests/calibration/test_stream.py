from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from calibration import stream
from calibration.graphs import open_float_graph
from calibration.observers import AnyOrder, NotFiniteError
from calibration.segments import write_segments
from calibration.stream import observe
from runtime import memory
from runtime.errors import CalibrationError, UnsupportedError, UsageError
from runtime.memory import estimate_of_feeds
from runtime.tensors import Array, Feed
from tests.calibration import tiny

BRANCHES = """
<ir_version: 10, opset_import: ["": 22]>
branches (float[batch,4] x, bool again) => (float[batch,4] y) {
    a = Relu(x)
    b = Neg(a)
    c = If(again) <
        then_branch = then () => (float[batch,4] t) { t = Mul(a, b) },
        else_branch = else () => (float[batch,4] e) { e = Sub(b, x) }
    >
    d = Exp(c)
    y = Add(d, a)
}
"""
LISTS = """
<ir_version: 10, opset_import: ["": 22]>
lists (float[batch,4] x) => (float[twice,4] y) {
    a = Relu(x)
    s = SequenceConstruct(a, x)
    b = Exp(a)
    c = ConcatFromSequence<axis=0>(s)
    y = Neg(c)
}
"""


class Kept:
    """Keeps every value, as no real observer would."""

    def __init__(self) -> None:
        self.values: list[Array] = []

    def observe(self, values: Array) -> None:
        self.values.append(values.copy())

    def merge(self, other: Self) -> None:
        self.values += other.values


class KeptInAnyOrder(Kept, AnyOrder):
    """The same, without need of an order."""


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many segments as there can be."""
    monkeypatch.setattr(stream, "_FLOOR", 0)
    monkeypatch.setattr("calibration.segments._ROOM", 0)


def _names(graph: Path) -> list[str]:
    return [str(value.name) for node in open_float_graph(graph).graph for value in node.outputs]


def _segments(graph: Path, folder: Path) -> int:
    """How many segments `graph` is cut into at most."""
    model = open_float_graph(graph)
    sizes = {
        str(value.name): 1
        for node in model.graph
        for value in node.outputs
        if value.dtype == ir.DataType.FLOAT
    }
    return len(write_segments(model, sizes, frozenset(), folder, 0))


def _feeds(count: int, **others: Array) -> Iterator[Feed]:
    random = np.random.default_rng(3)
    for _ in range(count):
        yield {"x": random.standard_normal((1, 4)).astype(np.float32), **others}


@pytest.mark.usefixtures("narrow")
def test_every_tensor_is_that_of_the_reference_evaluator_however_small_the_segments(tmp_path: Path) -> None:
    graph = tiny.residual_cnn(tmp_path)
    assert _segments(graph, tmp_path) > 4
    kept = {name: Kept() for name in ["images", *_names(graph)]}
    assert observe(graph, tiny.images(2), kept) == 2
    for sample, feed in enumerate(tiny.images(2)):
        wanted = dict(zip(_names(graph), tiny.evaluate(graph, feed, *_names(graph)), strict=True))
        for name, expected in {**wanted, **feed}.items():
            found = kept[name].values[sample]
            assert found.shape == expected.shape
            # float32 sums of up to 72 products in another order: a few units in the last place.
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_number_of_segments_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = tiny.residual_cnn(tmp_path)
    whole = {name: Kept() for name in _names(graph)}
    observe(graph, tiny.images(2), whole)
    monkeypatch.setattr(stream, "_FLOOR", 0)
    cut = {name: Kept() for name in _names(graph)}
    observe(graph, tiny.images(2), cut)
    for name, observer in whole.items():
        np.testing.assert_array_equal(observer.values, cut[name].values)


@pytest.mark.parametrize("channels", [16, 24])
def test_values_in_any_order_are_the_same_values(tmp_path: Path, channels: int) -> None:
    """ONNX Runtime pads 24 channels to the width of its blocks on some CPUs; no padding may be seen."""
    text = tiny.graph_text(
        "(float[batch,16,9,9] x) => (float[batch,n,9,9] y)",
        "c = Conv<pads=[1,1,1,1]>(x, w) r = Sigmoid(c) y = Conv<pads=[1,1,1,1]>(r, v)",
    )
    shapes = {"w": (channels, 16, 3, 3), "v": (16, channels, 3, 3)}
    graph = tiny.write(tmp_path / "g.onnx", text, shapes)
    feeds = [{"x": np.random.default_rng(0).standard_normal((1, 16, 9, 9)).astype(np.float32)}]
    ordered, unordered = {"r": Kept(), "y": Kept()}, {"r": KeptInAnyOrder(), "y": KeptInAnyOrder()}
    observe(graph, feeds, ordered)
    observe(graph, feeds, unordered)
    for name in ordered:
        expected, found = ordered[name].values[0], unordered[name].values[0]
        assert np.sort(found, axis=None).tolist() == np.sort(expected, axis=None).tolist()


@pytest.mark.usefixtures("narrow")
def test_samples_are_seen_in_their_order_though_several_are_run_at_a_time(tmp_path: Path) -> None:
    graph = tiny.write(tmp_path / "g.onnx", BRANCHES, {})
    count = 40
    feeds = [{"x": np.full((1, 4), n, np.float32), "again": np.array(True)} for n in range(count)]
    kept = {"x": Kept(), "a": Kept(), "b": Kept()}
    observe(graph, feeds, kept)
    for name, sign in {"x": 1, "a": 1, "b": -1}.items():
        assert [float(values.max()) * sign for values in kept[name].values] == list(range(count))


@pytest.mark.parametrize(("samples_that_fit", "at_once"), [(1, 1), (2, 2)])
def test_as_many_samples_are_run_at_a_time_as_fit_into_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples_that_fit: int, at_once: int
) -> None:
    graph = tiny.residual_cnn(tmp_path)
    # The largest tensors that are there together, and weights; the factors are runtime.memory's and stream's.
    needed = estimate_of_feeds(open_float_graph(graph), {"batch": 1}, 1)
    free = needed.fixed + samples_that_fit * 2 * needed.per_sample
    monkeypatch.setattr(stream, "available_bytes", lambda: free)
    running, most, run = 0, 0, stream._Runner.run

    def watched(*arguments: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)  # so that the next one has the time to begin
        run(*arguments)
        running -= 1

    monkeypatch.setattr(stream._Runner, "run", watched)
    assert observe(graph, tiny.images(6), {name: Kept() for name in _names(graph)}) == 6
    assert most == at_once


def test_a_sample_that_does_not_fit_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = tiny.residual_cnn(tmp_path)
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    monkeypatch.setattr(stream, "open_segment", None)
    with pytest.raises(
        UnsupportedError, match=r"^to calibrate .*\.onnx at batch 1 needs about 0\.0 GiB of memory, 0\.0 are"
    ):
        observe(graph, tiny.images(1), {name: Kept() for name in _names(graph)})


def test_an_observer_that_fails_is_heard_and_nothing_waits_for_it(tmp_path: Path) -> None:
    class Failing(Kept):
        def observe(self, values: Array) -> None:
            super().observe(values)
            if len(self.values) == 3:
                raise ZeroDivisionError

    graph = tiny.write(tmp_path / "g.onnx", BRANCHES, {})
    feeds = _feeds(40, again=np.array(True))
    with pytest.raises(ZeroDivisionError):
        observe(graph, feeds, {"a": Failing(), "b": Kept()})
    assert len(list(feeds)) > 30  # it did not go on to the end


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("again", [True, False])
def test_what_branches_read_from_outside_is_handed_to_them(tmp_path: Path, again: bool) -> None:
    graph = tiny.write(tmp_path / "g.onnx", BRANCHES, {})
    names = ["a", "b", "c", "d", "y"]
    kept = {name: Kept() for name in names}
    feeds = list(_feeds(2, again=np.array(again)))
    observe(graph, feeds, kept)
    for sample, feed in enumerate(feeds):
        for name, expected in zip(names, tiny.evaluate(graph, feed, *names), strict=True):
            np.testing.assert_allclose(kept[name].values[sample], expected, rtol=1e-6)


@pytest.mark.usefixtures("narrow")
def test_a_list_of_tensors_is_never_handed_from_segment_to_segment(tmp_path: Path) -> None:
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(LISTS)))
    segments = write_segments(model, {"a": 4, "b": 4, "c": 4, "y": 4}, frozenset(), tmp_path, 4)
    assert len(segments) > 1
    assert all("s" not in (*segment.inputs, *segment.passed) for segment in segments)


def test_what_optimisation_finds_constant_is_observed(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,4] x) => (float[batch,4] y)", "k = Exp(w) y = Add(x, k)")
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (4, 1)})
    text = text.replace("float[batch,4] x", "float[4,4] x")
    kept = {"k": Kept()}
    observe(graph, [{"x": np.zeros((4, 4), np.float32)}], kept, together=True)
    np.testing.assert_allclose(
        kept["k"].values[0], tiny.evaluate(graph, {"x": np.zeros((4, 4), np.float32)}, "k")[0]
    )


def test_samples_of_different_sizes_follow_each_other(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,length] x) => (float[batch,length] y)", "r = Exp(x) y = Neg(r)")
    graph = tiny.write(tmp_path / "g.onnx", text, {})
    kept = {"r": Kept(), "y": Kept()}
    feeds = [{"x": np.ones((1, size), np.float32)} for size in (3, 50, 2)]
    assert observe(graph, feeds, kept) == 3
    assert [values.shape for values in kept["y"].values] == [(1, 3), (1, 50), (1, 2)]


def test_inputs_alone_need_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "open_segment", None)
    kept = {"images": Kept()}
    assert observe(tiny.residual_cnn(tmp_path), tiny.images(3, batch=3), kept) == 3
    assert np.array_equal(np.concatenate(kept["images"].values), next(tiny.images(3, batch=3))["images"])


def test_samples_stay_together_where_they_depend_on_each_other(tmp_path: Path) -> None:
    kept = {"images": Kept()}
    assert observe(tiny.residual_cnn(tmp_path), tiny.images(6, batch=3), kept, together=True) == 6
    assert [values.shape[0] for values in kept["images"].values] == [3, 3]


def test_no_value_outlives_its_sample(tmp_path: Path) -> None:
    alive: list[weakref.ref[Array]] = []
    most = 0
    lock = threading.Lock()

    class Watching(Kept):
        def observe(self, values: Array) -> None:
            nonlocal most
            with lock:
                alive.append(weakref.ref(values))
                most = max(most, sum(reference() is not None for reference in alive))

    graph = tiny.residual_cnn(tmp_path)
    names = _names(graph)
    observe(graph, tiny.images(8), {name: Watching() for name in names})
    assert len(alive) == 8 * len(names)
    assert most <= len(names) + 2


def test_nan_names_the_tensor_and_the_sample(tmp_path: Path) -> None:
    class Refusing(Kept):
        def observe(self, values: Array) -> None:
            if not np.isfinite(values).all():
                raise NotFiniteError("something bad")

    text = tiny.graph_text("(float[batch,4] x) => (float[batch,4] y)", "r = Log(x) y = Neg(r)")
    graph = tiny.write(tmp_path / "g.onnx", text, {})
    feed = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [1, 0, 1, 1]], np.float32)
    with pytest.raises(
        CalibrationError, match="tensor 'r' holds something bad in sample 3 of the calibration"
    ):
        observe(graph, [{"x": feed}], {"r": Refusing()})


def test_an_unknown_tensor_offers_the_near_ones(tmp_path: Path) -> None:
    graph = tiny.residual_cnn(tmp_path)
    with pytest.raises(UsageError, match="unknown float32 tensor 'imags': did you mean images"):
        observe(graph, tiny.images(1), {"imags": Kept()})


def test_no_feeds_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"no feeds to calibrate .*cnn\.onnx on; give at least one"):
        observe(tiny.residual_cnn(tmp_path), [], {"images": Kept()})
