"""Centred tensors: all steps of INT8 for what is never negative, and the same answers in float."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibration.bias import corrected_biases
from calibration.centring import centrable_tensors
from calibration.collect import calibrate
from calibration.graphs import open_float_graph
from calibration.mixture import Apart
from calibration.precision import Precision
from calibration.prepare import Quantisable, rescale
from calibration.recipe import Recipe
from calibration.rounding import round_weights
from calibration.write import write_int8
from runtime.tensors import Array, Feed
from tests.calibration import tiny
from tests.runtime.trt_zoo import refusal

CENTRED = ("r1", "r4", "r5", "r6")
"""Of tiny.bottleneck: its other ReLU's result goes into a convolution that pads."""


def _feeds() -> list[Feed]:
    return list(tiny.images(8))


def _centred(folder: Path, graph: Path, method: str = "min-max") -> Path:
    out = folder / f"{method.partition(':')[0]}-centred.onnx"
    rescale(graph, out, _feeds, Recipe(method, centre=True))
    return out


def _int8(graph: Path, method: str = "min-max") -> Path:
    ranges = calibrate(graph, _feeds(), method)
    return write_int8(Quantisable(graph, ranges), graph.with_suffix(".int8.onnx")).path


def _constants(path: Path) -> dict[str, Array]:
    return {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}


def _steps(path: Path) -> dict[str, float]:
    """The step that a Clip has room for INT8's ends of, by the tensor that it makes."""
    constants, found = _constants(path), {}
    for node in onnx.load(path).graph.node:
        if node.op_type == "Clip":
            least, greatest = (float(constants[name]) for name in node.input[1:])
            found[node.output[0]] = -least / 128
            assert greatest == pytest.approx(127 * found[node.output[0]], rel=1e-7)
    return found


def test_what_only_single_pixels_and_sums_read_is_centred(tmp_path: Path) -> None:
    graph = tiny.bottleneck(tmp_path)
    assert centrable_tensors(open_float_graph(graph).graph) == CENTRED
    assert set(_steps(_centred(tmp_path, graph))) == set(CENTRED)
    assert (
        len([node for node in tiny.nodes(_centred(tmp_path, graph)).values() if node.op_type == "Relu"]) == 1
    )


def test_the_centred_network_computes_the_same(tmp_path: Path) -> None:
    graph = tiny.bottleneck(tmp_path)
    centred = _centred(tmp_path, graph)
    for feed in _feeds():
        np.testing.assert_allclose(tiny.evaluate(centred, feed)[0], tiny.evaluate(graph, feed)[0], atol=2e-6)
    assert tiny.interface(centred) == tiny.interface(graph)


def test_its_steps_are_half_as_wide(tmp_path: Path) -> None:
    graph = tiny.bottleneck(tmp_path)
    plain, centred = _constants(_int8(graph)), _constants(_int8(_centred(tmp_path, graph)))
    for name in CENTRED:
        assert centred[f"{name}_scale"] == pytest.approx(plain[f"{name}_scale"] * 127 / 255, rel=1e-6)
    assert centred["r3_scale"] == pytest.approx(plain["r3_scale"], rel=1e-5)


def test_a_centred_tensor_fills_int8_and_its_zero_is_an_exact_step(tmp_path: Path) -> None:
    graph = tiny.bottleneck(tmp_path)
    centred = _centred(tmp_path, graph)
    steps, before = _steps(centred), calibrate(graph, _feeds(), "min-max").tensors
    after = calibrate(centred, _feeds(), "min-max").tensors
    for name in CENTRED:
        assert steps[name] == pytest.approx(before[name].maximum / 255)
        assert after[name].scale == steps[name]
    int8 = _int8(centred)
    stored = tiny.evaluate(int8, _feeds()[0], *(f"{name}_quantized" for name in CENTRED))
    values = tiny.evaluate(graph, _feeds()[0], *CENTRED)
    for quantised, value in zip(stored, values, strict=True):
        assert quantised.min() == -128
        # What is 0 in float may be a little more in INT8, and the other way round, never often.
        assert np.mean(quantised[value == 0] == -128) > 0.9


def test_saturation_does_the_clipping(tmp_path: Path) -> None:
    """So that neither ReLU nor Clip is left, but of what is not centred."""
    left = [n.op_type for n in tiny.nodes(_int8(_centred(tmp_path, tiny.bottleneck(tmp_path)))).values()]
    assert left.count("Relu") == 1
    assert "Clip" not in left


@pytest.mark.parametrize("how", ["feedback", "correct"])
def test_int8_is_nearer_to_float(tmp_path: Path, how: str) -> None:
    """Together with what makes up for the errors of weights: a constant shows them all."""
    graph = tiny.bottleneck(tmp_path)
    noise = []
    for each in (graph, _centred(tmp_path, graph)):
        ranges = calibrate(each, _feeds(), "min-max")
        rounded = round_weights(each, _feeds) if how == "feedback" else {}
        biases = corrected_biases(each, _feeds, rounded) if how == "correct" else {}
        int8 = write_int8(Quantisable(each, ranges, rounded, biases), each.with_suffix(".int8.onnx")).path
        errors = [tiny.evaluate(int8, f)[0] - tiny.evaluate(graph, f)[0] for f in tiny.images(16, seed=5)]
        noise.append(float(np.square(errors).sum()))
    plain, centred = noise
    assert centred < plain  # by a few per cent: its other tensors and its weights are as coarse as before


def test_what_the_method_clips_is_clipped_in_float(tmp_path: Path) -> None:
    graph = tiny.bottleneck(tmp_path)
    steps = _steps(_centred(tmp_path, graph, "percentile:99"))
    ranges = calibrate(graph, _feeds(), "percentile:99").tensors
    for name in CENTRED:
        assert steps[name] == pytest.approx(ranges[name].amax / 255)
        assert steps[name] < 0.98 * ranges[name].maximum / 255


def test_layers_can_stay_in_float(tmp_path: Path) -> None:
    """Next to a centred tensor, too: what takes the shift in is the float graph."""
    graph = tiny.bottleneck(tmp_path)
    centred = _centred(tmp_path, graph)
    ranges, kept = calibrate(centred, _feeds(), "min-max"), ["second", "third", "last"]
    report = write_int8(Quantisable(centred, ranges), tmp_path / "mixed.onnx", Apart(kept))
    assert not set(kept) & set(report.converted)
    for feed in _feeds():
        want, got = tiny.evaluate(graph, feed)[0], tiny.evaluate(report.path, feed)[0]
        assert np.linalg.norm(got - want) < 0.1 * np.linalg.norm(want)


def test_tensorrt_builds_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    int8 = _int8(_centred(tmp_path, tiny.bottleneck(tmp_path)))
    assert refusal(int8, Precision.INT8, {"batch": 4}) == ""


WEIGHTS = {"a": (4, 3, 3, 3), "p": (4, 4, 1, 1), "k": (4, 4, 3, 3), "b": (4,), "w": (4, 4), "v3": (3, 4)}
ONES = {"one": (), "v": (4,)}


@pytest.mark.parametrize(
    ("body", "centred"),
    [
        ("c = Conv(x, a, b) r = Relu(c) y = Conv(r, p)", ("r",)),
        ("c = Conv(x, a) r = Relu(c) y = Conv<pads=[1,1,1,1]>(r, p)", ()),
        ('c = Conv(x, a) r = Relu(c) y = Conv<auto_pad="SAME_UPPER">(r, p)', ()),
        ("c = Conv(x, a) r = Relu(c) y = Conv(r, k)", ()),
        ("c = Conv(x, a) r = Relu(c) d = Conv(r, p) y = Concat<axis=1>(d, r)", ()),
        ("c = Conv(x, a) r = Relu(c) d = Conv(r, p) e = Conv(c, p) y = Add(d, e)", ()),
        ("c = Conv(x, a) r = Relu(c) q = Conv(r, p) s = Relu(q) t = Add(r, s) y = Conv(t, p)", ()),
        ("c = Conv(x, a) r = Relu(c) q = Conv(r, p) t = Add(r, q) y = Conv(t, p)", ("r",)),
        ("c = Conv(x, a) t = Add(c, one) r = Relu(t) y = Conv(r, p)", ("r",)),
        ("c = Conv(x, a) n = BatchNormalization(c, b, b, b, v) r = Relu(n) y = Conv(r, p)", ("r",)),
        (
            "c = Conv(x, a) r = Relu(c) f = Transpose<perm=[0,2,3,1]>(r) m = MatMul(f, w) y = Add(m, b)",
            ("r",),
        ),
        ("c = Conv(x, a) r = Relu(c) f = Transpose<perm=[0,2,3,1]>(r) y = MatMul(f, w)", ()),
        (
            "t = Transpose<perm=[0,2,3,1]>(x) m = MatMul(t, v3) n = Add(m, b) r = Relu(n) o = MatMul(r, w)"
            " y = Add(b, o)",
            ("r",),
        ),
        ("t = Transpose<perm=[0,2,3,1]>(x) m = MatMul(t, v3) r = Relu(m) o = MatMul(r, w) y = Add(b, o)", ()),
        ("c = Conv(x, a) t = Mul(c, c) r = Relu(t) y = Conv(r, p)", ()),
        ("c = Conv(x, a) r = Relu(c) m = MaxPool<kernel_shape=[2,2]>(r) y = Conv(m, p)", ("r",)),
        ("c = Conv(x, a) r = Relu(c) m = AveragePool<kernel_shape=[2,2]>(r) y = Conv(m, p)", ()),
    ],
)
def test_only_what_reads_and_is_made_so_is_centred(
    tmp_path: Path, body: str, centred: tuple[str, ...]
) -> None:
    """Padding would no longer be 0, and nothing takes the shift out of a concatenation or a mean."""
    text = tiny.graph_text("(float[batch,3,8,8] x) => (float[batch,D,H,W] y)", body)
    named = set(re.findall(r"\w+", body))
    used = {name: shape for name, shape in WEIGHTS.items() if name in named}
    ones = {name: np.ones(shape, np.float32) for name, shape in ONES.items() if name in named}
    graph = tiny.write(tmp_path / "g.onnx", text, used, **ones)
    assert centrable_tensors(open_float_graph(graph).graph) == centred
    feeds: list[Feed] = [
        {"x": np.random.default_rng(n).standard_normal((1, 3, 8, 8)).astype("f")} for n in range(3)
    ]
    changed = rescale(graph, tmp_path / "out.onnx", lambda: feeds, Recipe("min-max", centre=True))
    assert changed == len(centred)
    for feed in feeds:
        want, got = tiny.evaluate(graph, feed)[0], tiny.evaluate(tmp_path / "out.onnx", feed)[0]
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_nothing_but_zeros_is_left_as_it_is(tmp_path: Path) -> None:
    body = "c = Conv(x, a, far) r = Relu(c) y = Conv(r, p)"
    text = tiny.graph_text("(float[batch,3,8,8] x) => (float[batch,D,H,W] y)", body)
    far = np.full(4, -1000, np.float32)
    graph = tiny.write(tmp_path / "g.onnx", text, {key: WEIGHTS[key] for key in "ap"}, far=far)
    feeds: list[Feed] = [{"x": np.ones((1, 3, 8, 8), np.float32)}]
    assert rescale(graph, tmp_path / "out.onnx", lambda: feeds, Recipe("min-max", centre=True)) == 0
