from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import pytest

from exporters import parity
from exporters.parity import check_parity, open_graph
from runtime.errors import CheckFailed
from runtime.tensors import Array, Feed
from tests.exporters.graphs import parse, random
from tests.exporters.sources import GraphSource

TEXT = "g (float[batch,3,8,8] x) => (float[batch,4,6,6] y, float[batch,1,1] m) {"
BODY = " c = Conv(x, w) y = BatchNormalization<epsilon=EPSILON>(c, g, b, m0, v)"
BODY += " m = ReduceMax<keepdims=0>(y, a) }"
WEIGHTS: dict[str, Array] = {
    "w": random(4, 3, 3, 3),
    "g": random(4, seed=1),
    "b": random(4, seed=2),
    "m0": random(4, seed=3),
    "v": np.abs(random(4, seed=4)) + 0.05,
    "a": np.array([1]),
}


def network(epsilon: float = 1e-5, **changed: Array) -> ir.Model:
    text = TEXT.replace("[batch,1,1]", "[batch,6,6]") + BODY.replace("EPSILON", f"{epsilon:.8f}")
    return parse(text, **(WEIGHTS | changed))


def feed(batch_size: int = 1, seed: int = 0) -> Feed:
    return {"x": random(batch_size, 3, 8, 8, seed=seed)}


def compared(
    original: ir.Model, exported: ir.Model, folder: Path, feeds: tuple[Feed, ...] = ()
) -> parity.Parity:
    path = folder / "exported.onnx"
    ir.save(exported, path)
    return check_parity(GraphSource(original, exported), path, feeds)


def test_the_same_network_passes_and_tells_how_far_apart_the_two_are(tmp_path: Path) -> None:
    found = compared(network(), network(), tmp_path, (feed(), feed(3, seed=1)))
    assert found.feeds == 3
    assert [output.name for output in found.outputs] == ["y", "m"]
    assert all(0 <= output.relative < 1e-5 for output in found.outputs)


@pytest.mark.parametrize(
    "exported",
    [
        network(epsilon=1e-3),
        network(w=WEIGHTS["w"] * np.float32(1.001)),
        network(b=WEIGHTS["b"] + np.float32(0.01)),
    ],
    ids=["epsilon", "weight", "bias"],
)
def test_a_network_that_is_slightly_another_fails(exported: ir.Model, tmp_path: Path) -> None:
    with pytest.raises(
        CheckFailed, match=r"output 'y' .* differs from the source by .*; 0.0001 is allowed for float32"
    ):
        compared(network(), exported, tmp_path)


class _Released(GraphSource):
    """Tells when it is asked and let go of."""

    told: ClassVar[list[str]] = []

    def run(self, feed: Feed) -> dict[str, Array]:
        self.told.append("asked")
        return super().run(feed)

    def release(self) -> None:
        self.told.append("released")


def test_the_source_is_let_go_of_before_the_graph_is_opened_and_few_answers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(graph: Path) -> parity.OpenGraph:
        _Released.told.append("opened")
        return open_graph(graph)

    monkeypatch.setattr(parity, "open_graph", opened)
    _Released.told.clear()
    ir.save(network(), tmp_path / "exported.onnx")
    feeds = [feed(seed=seed) for seed in range(4)]
    found = check_parity(_Released(network(), network()), tmp_path / "exported.onnx", iter(feeds))
    assert found.feeds == 5
    assert _Released.told == [*["asked"] * 4, "released", "opened", "asked", "released", "opened"]


def test_a_difference_that_only_the_last_of_many_feeds_shows_is_found(tmp_path: Path) -> None:
    relu = parse("g (float[batch,3] x) => (float[batch,3] y) { y = Relu(x) }")
    clip = parse(
        "g (float[batch,3] x) => (float[batch,3] y) { y = Clip(x, low, high) }",
        low=np.array(0, np.float32),
        high=np.array(6, np.float32),
    )
    small, large = ({"x": np.full((1, 3), value, np.float32)} for value in (1, 7))
    with pytest.raises(CheckFailed, match="output 'y'"):
        compared(relu, clip, tmp_path, (*[small] * 9, large))


def test_a_difference_that_only_one_feed_shows_is_found(tmp_path: Path) -> None:
    """ReLU6 and ReLU are alike below 6: N(0, 1) does not tell them apart, the caller's feed does."""
    relu = parse("g (float[batch,3] x) => (float[batch,3] y) { y = Relu(x) }")
    clip = parse(
        "g (float[batch,3] x) => (float[batch,3] y) { y = Clip(x, low, high) }",
        low=np.array(0, np.float32),
        high=np.array(6, np.float32),
    )
    assert compared(relu, clip, tmp_path).outputs[0].absolute == 0
    with pytest.raises(CheckFailed, match="output 'y'"):
        compared(relu, clip, tmp_path, ({"x": np.array([[1, 5, 7]], np.float32)},))


def test_whole_numbers_must_be_equal(tmp_path: Path) -> None:
    text = "g (float[batch,50] x) => (int64[batch,50] y) { z = Mul(x, k) r = Floor(z) y = Cast<to=7>(r) }"
    floor, rounded = (
        parse(text.replace("Floor", way), k=np.array(100, np.float32)) for way in ("Floor", "Round")
    )
    with pytest.raises(CheckFailed, match=r"differs from the source by 1, .*; 0 is allowed for int64"):
        compared(floor, rounded, tmp_path)


def test_nan_equals_nan_and_nothing_else(tmp_path: Path) -> None:
    root = parse("g (float[batch,50] x) => (float[batch,50] y) { y = Sqrt(x) }")
    absolute = parse("g (float[batch,50] x) => (float[batch,50] y) { z = Abs(x) y = Sqrt(z) }")
    with np.errstate(invalid="ignore"):
        assert compared(root, root, tmp_path).outputs[0].relative < 1e-6
        with pytest.raises(CheckFailed, match="differs from the source by inf"):
            compared(root, absolute, tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("g (float[batch,3] x) => (float[batch,1] y) { y = ReduceSum(x, a) }", r"is float32\[2, 1\]"),
        ("g (float[batch,3] x) => (double[batch,3] y) { y = Cast<to=11>(x) }", r"is float64\[2, 3\]"),
        ("g (float[batch,3] x) => (float[batch,3] z) { z = Relu(x) }", "is nothing"),
    ],
    ids=["shape", "type", "name"],
)
def test_an_output_of_another_kind_fails(text: str, found: str, tmp_path: Path) -> None:
    relu = parse("g (float[batch,3] x) => (float[batch,3] y) { y = Relu(x) }")
    with pytest.raises(CheckFailed, match=rf"output 'y' .* {found}, the source gives float32\[2, 3\]"):
        compared(relu, parse(text, a=np.array([1])), tmp_path)


def test_without_onnx_runtime_the_reference_evaluator_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ir.save(network(), tmp_path / "n.onnx")
    with_runtime = open_graph(tmp_path / "n.onnx")(feed())
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    without = open_graph(tmp_path / "n.onnx")(feed())
    assert without.keys() == with_runtime.keys()
    np.testing.assert_allclose(without["y"], with_runtime["y"], rtol=1e-4, atol=1e-5)


@dataclass(frozen=True)
class _Deep:
    """Fifty 3x3 convolutions of 64 channels, in float64 as the oracle."""

    layers: int = 50
    channels: int = 64

    def relative_error_of_float32(self) -> float:
        x = random(1, 20 * 20, self.channels)
        exact, single = x.astype(np.float64), x
        for layer in range(self.layers):
            w = random(self.channels, self.channels, seed=layer) * np.float32(np.sqrt(2 / self.channels))
            exact = np.maximum(exact @ w.astype(np.float64), 0)
            single = np.maximum(single @ w, np.float32(0))
        return float(np.abs(exact - single).max() / np.abs(exact).max())


def test_fifty_layers_of_correct_float32_stay_well_within_the_tolerance() -> None:
    assert _Deep().relative_error_of_float32() < parity.RELATIVE_TOLERANCE["float32"] / 3


class Lists(GraphSource):
    """Its outputs are one list."""

    lists = (("scores", "boxes"),)


LISTS = "g (float[batch,100] x) => (float[batch,100] scores, float[batch,100,1] boxes)"


@pytest.mark.parametrize(("missing", "passes"), [(1, True), (9, False)])
def test_a_row_that_one_list_lacks_moves_none_behind_it(missing: int, passes: bool, tmp_path: Path) -> None:
    """The exported graph leaves out the first rows, and has zeros at the end of its lists instead."""
    original = parse(f"{LISTS} {{ scores = Identity(x) boxes = Unsqueeze(x, last) }}", last=np.array([-1]))
    exported = parse(
        f"{LISTS} {{ left = Slice(x, start, end, axis) scores = Pad(left, pads)"
        " boxes = Unsqueeze(scores, last) }",
        last=np.array([-1]),
        start=np.array([missing]),
        end=np.array([100]),
        axis=np.array([1]),
        pads=np.array([0, 0, 0, missing]),
    )
    falling = np.linspace(1, 0.1, 100, dtype=np.float32)
    ir.save(exported, tmp_path / "exported.onnx")
    feeds = [{"x": np.stack([falling, falling])}]
    source = Lists(original, exported)
    if passes:
        found = check_parity(source, tmp_path / "exported.onnx", feeds)
        assert [output.name for output in found.outputs] == ["scores", "boxes"]
        assert {output.unmatched for output in found.outputs} == {2 * missing}
    else:
        with pytest.raises(CheckFailed, match=r"'scores, boxes' of the exported graph has \d+ rows"):
            check_parity(source, tmp_path / "exported.onnx", feeds)
