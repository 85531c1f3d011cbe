"""Rescaled channels: the same bits in float, and finer steps for small channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from calibration.channels import FIXED, channel_groups
from calibration.collect import calibrate
from calibration.equalisation import equalise, uneven_tensors
from calibration.graphs import open_float_graph
from calibration.mixture import Apart
from calibration.observers.channels import ChannelExtremes
from calibration.prepare import Quantisable, rescale
from calibration.recipe import Recipe
from calibration.write import write_int8
from runtime.tensors import Array, Feed
from tests.calibration import tiny

BODIES = {
    "convolutions": """
        [c1] a = Conv<pads=[1,1,1,1]>(x, w1, b1)
        [r1] r = Relu(a)
        [p1] p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
        [c2] y = Conv(p, w2)
    """,
    "normalised": """
        [c1] a = Conv<pads=[1,1,1,1]>(x, w1, b1)
        [bn] n = BatchNormalization(a, scale, shift, mean, variance)
        [r1] r = Relu(n)
        [c2] y = Conv(r, w2)
    """,
    "residual": """
        [c1] a = Conv<pads=[1,1,1,1]>(x, w1, b1)
        [r1] r = Relu(a)
        [c3] m = Conv<pads=[1,1,1,1]>(r, w3, b3)
        [sum] s = Add(m, r)
        [r2] q = Relu(s)
        [c2] y = Conv(q, w2)
    """,
    "joined": """
        [c1] a = Conv<pads=[1,1,1,1]>(x, w1, b1)
        [c4] b = Conv<pads=[1,1,1,1]>(x, w4, b4)
        [cat] j = Concat<axis=1>(a, b)
        [r1] r = Relu(j)
        [c2] y = Conv(r, w5)
    """,
    "transposed": """
        [c1] a = ConvTranspose<strides=[2,2]>(x, w6, b1)
        [r1] r = LeakyRelu(a)
        [c2] y = ConvTranspose(r, w7)
    """,
}
SHAPES = {
    "w1": (6, 3, 3, 3), "b1": (6,), "w2": (4, 6, 1, 1), "w3": (6, 6, 3, 3), "b3": (6,),
    "w4": (2, 3, 3, 3), "b4": (2,), "w5": (4, 8, 1, 1), "w6": (3, 6, 2, 2), "w7": (6, 4, 1, 1),
    "scale": (6,), "shift": (6,), "mean": (6,), "variance": (6,),
}  # fmt: skip


def _uneven(tmp_path: Path, name: str) -> Path:
    """A network one of whose channels is a hundred times as large as the others, and `w2`'s answer to it."""
    text = f"""<ir_version: 10, opset_import: ["": 22]>
    uneven (float[batch,3,8,8] x) => (float[batch,4,H,W] y) {{{BODIES[name]}}}"""
    rng = np.random.default_rng(5)
    used = {key: shape for key, shape in SHAPES.items() if key in BODIES[name]}
    arrays = {key: rng.standard_normal(shape).astype(np.float32) for key, shape in used.items()}
    if "variance" in arrays:
        # No channel may be dead behind the ReLU.
        for each in ("variance", "scale", "shift"):
            arrays[each] = np.abs(arrays[each]) + np.float32(0.5)
        arrays["scale"][2] *= 100
    else:
        first = "w6" if "w6" in arrays else "w1"
        index = (slice(None), 2) if first == "w6" else (2,)
        arrays[first][index] *= 100
        arrays["b1"][2] *= 100
    return tiny.write(tmp_path / f"{name}.onnx", text, {}, **arrays)


def _feeds() -> list[Feed]:
    rng = np.random.default_rng(6)
    return [{"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(8)]


def _run(path: Path, feed: Feed) -> Array:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    result: Array = onnxruntime.InferenceSession(path, options).run(None, dict(feed))[0]
    return result


@pytest.mark.parametrize("name", BODIES)
def test_the_rescaled_network_computes_the_same_bits(tmp_path: Path, name: str) -> None:
    graph, feeds = _uneven(tmp_path, name), _feeds()
    changed = rescale(graph, tmp_path / "even.onnx", lambda: feeds, Recipe("min-max", equalise=0.75))
    assert changed > 0
    for feed in feeds:
        np.testing.assert_array_equal(_run(tmp_path / "even.onnx", feed), _run(graph, feed))


@pytest.mark.parametrize("name", ["convolutions", "normalised", "joined", "transposed"])
def test_int8_loses_less_of_small_channels(tmp_path: Path, name: str) -> None:
    graph, feeds = _uneven(tmp_path, name), _feeds()
    rescale(graph, tmp_path / "even.onnx", lambda: feeds, Recipe("min-max", equalise=0.75))
    plain, even = (_worst_channel(tmp_path, graph, each, feeds) for each in (graph, tmp_path / "even.onnx"))
    assert even < plain / 3


def _worst_channel(tmp_path: Path, fp32: Path, graph: Path, feeds: list[Feed]) -> float:
    """The greatest error of a channel that the last convolution reads, beside the channel itself."""
    int8 = write_int8(
        Quantisable(graph, calibrate(graph, feeds, "min-max")), tmp_path / f"{graph.stem}.int8.onnx"
    ).path
    model, written = open_float_graph(graph), ir.load(int8)
    last = [node for node in model.graph if node.op_type in ("Conv", "ConvTranspose")][-1].inputs[0]
    assert last is not None
    reader = next(node for node in written.graph if node.name == "c2").inputs[0]
    assert reader is not None
    errors = []
    model.graph.outputs[:] = [last]
    reader.type, reader.shape = last.type, last.shape
    written.graph.outputs[:] = [reader]
    for each, name in ((model, "a.onnx"), (written, "b.onnx")):
        ir.save(each, tmp_path / name)
    for feed in feeds:
        want, got = _run(tmp_path / "a.onnx", feed), _run(tmp_path / "b.onnx", feed)
        noise = np.square(want - got).sum(axis=(0, 2, 3))
        errors.append(float((noise / np.square(want).sum(axis=(0, 2, 3))).max()))
    return max(errors)


def test_a_sum_ties_the_channels_of_both_its_sides(tmp_path: Path) -> None:
    graph = open_float_graph(_uneven(tmp_path, "residual")).graph
    groups = channel_groups(graph)
    by_name = {str(value.name): groups.resolved(channels) for value, channels in groups.tensors.items()}
    np.testing.assert_array_equal(by_name["m"], by_name["r"])
    assert FIXED not in by_name["r"]
    assert set(by_name["y"]) == {FIXED}


def test_what_an_unknown_operator_reads_stays_as_it_is(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 22]>
    g (float[batch,3,8,8] x) => (float[batch,4,H,W] y) {
        a = Conv(x, w1, b1)
        s = Sigmoid(a)
        y = Conv(s, w2)
    }"""
    rng = np.random.default_rng(0)
    arrays = {k: rng.standard_normal(SHAPES[k]).astype(np.float32) for k in ("w1", "b1", "w2")}
    model = open_float_graph(tiny.write(tmp_path / "g.onnx", text, {}, **arrays))
    groups = channel_groups(model.graph)
    assert all(set(groups.resolved(c)) == {FIXED} for c in groups.tensors.values())
    extremes = {name: ChannelExtremes(name, axis) for name, axis in uneven_tensors(model.graph).items()}
    for each in extremes.values():
        each.observe(np.array([1, 50, 1, 1, 1, 1], np.float32).reshape(1, 6, 1, 1))
    assert equalise(model.graph, extremes, 0.5) == 0


def test_weights_that_two_nodes_read_are_left_alone(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 22]>
    g (float[batch,3,8,8] x) => (float[batch,4,H,W] y, float[batch,4,H,W] z) {
        a = Conv(x, w1, b1)
        b = Conv(x, w1, b1)
        y = Conv(a, w2)
        z = Conv(b, w2)
    }"""
    rng = np.random.default_rng(0)
    arrays = {k: rng.standard_normal(SHAPES[k]).astype(np.float32) for k in ("w1", "b1", "w2")}
    groups = channel_groups(open_float_graph(tiny.write(tmp_path / "g.onnx", text, {}, **arrays)).graph)
    assert not groups.makers
    assert not groups.readers


def _uneven_residual(tmp_path: Path) -> Path:
    """What a transformer has: a normalisation with a large channel, read by a product and by a sum."""
    text = """<ir_version: 10, opset_import: ["": 22]>
    g (float[batch,5,16] x) => (float[batch,5,16] y) {
        [norm] n = LayerNormalization(x, gamma, beta)
        [fc1] a = MatMul(n, w8)
        [gelu] g = Gelu(a)
        [fc2] b = MatMul(g, w9)
        [sum] y = Add(b, n)
    }"""
    rng = np.random.default_rng(9)
    arrays = {
        "gamma": np.where(np.arange(16) == 2, 200, 1).astype(np.float32),
        "beta": np.zeros(16, np.float32),
        "w8": (rng.standard_normal((16, 64)) * np.where(np.arange(16) == 2, 0.01, 1)[:, None] / 4).astype(
            "f"
        ),
        "w9": (rng.standard_normal((64, 16)) / 8).astype("f"),
    }
    return tiny.write(tmp_path / "residual.onnx", text, {}, **arrays)


def test_smoothing_keeps_the_bits_and_helps_an_uneven_normalisation(tmp_path: Path) -> None:
    graph, rng = _uneven_residual(tmp_path), np.random.default_rng(3)
    feeds: list[Feed] = [{"x": rng.standard_normal((1, 5, 16)).astype(np.float32)} for _ in range(8)]
    smoothed = tmp_path / "smooth.onnx"
    assert rescale(graph, smoothed, lambda: feeds, Recipe("min-max", smooth=0.5)) > 0
    errors = {}
    for path in (graph, smoothed):
        np.testing.assert_array_equal(_run(path, feeds[0]), _run(graph, feeds[0]))
        ranges = calibrate(path, feeds, "min-max")
        int8 = write_int8(Quantisable(path, ranges), tmp_path / f"{path.stem}.int8.onnx").path
        errors[path] = sum(float(np.square(_run(int8, f) - _run(graph, f)).sum()) for f in feeds)
    assert errors[smoothed] < errors[graph] / 4


def test_a_shift_halves_the_steps_of_what_is_positive_and_changes_nothing_else(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 22]>
    g (float[batch,5,16] x) => (float[batch,5,8] y) {
        [gelu] g = Gelu(x)
        [fc] a = MatMul(g, w)
        [bias] y = Add(a, b)
    }"""
    rng = np.random.default_rng(9)
    arrays = {"w": rng.standard_normal((16, 8)).astype("f"), "b": rng.standard_normal(8).astype("f")}
    graph = tiny.write(tmp_path / "gelu.onnx", text, {}, **arrays)
    feeds: list[Feed] = [{"x": rng.standard_normal((1, 5, 16)).astype(np.float32)} for _ in range(8)]
    shifted = tmp_path / "shifted.onnx"
    assert rescale(graph, shifted, lambda: feeds, Recipe("min-max", shift=True)) == 1
    np.testing.assert_allclose(_run(shifted, feeds[0]), _run(graph, feeds[0]), atol=1e-5)
    plain, even = (calibrate(path, feeds, "min-max").tensors for path in (graph, shifted))
    (before,), (after,) = plain.values(), even.values()
    assert after.amax < 0.6 * before.amax
    assert after.minimum == pytest.approx(-after.maximum, rel=0.3)


def test_a_product_without_a_bias_is_not_shifted(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 22]>
    g (float[batch,5,16] x) => (float[batch,5,8] y) {
        g = Gelu(x)
        y = MatMul(g, w)
    }"""
    arrays = {"w": np.ones((16, 8), np.float32)}
    graph = tiny.write(tmp_path / "gelu.onnx", text, {}, **arrays)
    feeds: list[Feed] = [{"x": np.ones((1, 5, 16), np.float32)}]
    assert rescale(graph, tmp_path / "out.onnx", lambda: feeds, Recipe("min-max", shift=True)) == 0


def test_a_mixture_of_precisions_still_opens(tmp_path: Path) -> None:
    graph, feeds = _uneven(tmp_path, "residual"), _feeds()
    rescale(graph, tmp_path / "even.onnx", lambda: feeds, Recipe("min-max", equalise=0.5))
    ranges = calibrate(tmp_path / "even.onnx", feeds, "min-max")
    out = tmp_path / "mixed.onnx"
    report = write_int8(Quantisable(tmp_path / "even.onnx", ranges), out, Apart(["c3"]))
    assert "c3" not in report.converted
    assert _run(out, feeds[0]).shape == (1, 4, 8, 8)
