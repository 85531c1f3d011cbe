from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import numpy_helper

from calibration.collect import calibrate
from calibration.precision import Precision
from calibration.qdq import quantise_weight
from calibration.ranges import Range, Ranges
from calibration.write import PrecisionReport, write_precision
from runtime.errors import CalibrationError
from runtime.tensors import Array, Feed
from tests.calibration import tiny

FLOAT32_ROUNDING = 2.0**-24


def _int8(graph: Path, feeds: Sequence[Feed], method: str = "min-max") -> PrecisionReport:
    ranges = calibrate(graph, feeds, method)
    return write_precision(graph, Precision.INT8, graph.with_suffix(".int8.onnx"), ranges)


def _cnn(folder: Path) -> tuple[Path, Path]:
    graph = tiny.residual_cnn(folder)
    return graph, _int8(graph, list(tiny.images(8))).path


def _constants(path: Path) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


@settings(max_examples=60, deadline=None)
@given(
    weight=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=st.floats(-1e3, 1e3, width=32),
    ),
    data=st.data(),
)
def test_a_weight_moves_by_at_most_half_a_step_of_its_channel(weight: Array, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, weight.ndim - 1))
    steps, scales = quantise_weight(weight, axis)
    assert steps.dtype == np.int8
    assert scales.dtype == np.float32
    assert scales.shape == (weight.shape[axis],)
    assert steps.min() >= -127
    for channel, scale in enumerate(scales.astype(np.float64)):
        exact = weight.take(channel, axis).astype(np.float64)
        error = np.abs(steps.take(channel, axis) * scale - exact)
        assert (error <= scale * (0.5 + 260 * FLOAT32_ROUNDING)).all()


def test_weights_are_rounded_half_to_even_and_a_dead_channel_is_exact() -> None:
    weight = np.array([[127.0, 0.5, 1.5, -2.5], [0, 0, 0, 0]], np.float32)
    steps, scales = quantise_weight(weight, 0)
    assert steps.tolist() == [[127, 0, 2, -2], [0, 0, 0, 0]]
    assert scales.tolist() == [1.0, 1.0]


def test_a_quantised_layer_is_within_its_analytic_bound(tmp_path: Path) -> None:
    """|y' - y| <= sum |W| dx + |x| dW + dx dW, with dx and dW at most half a step each."""
    text = tiny.graph_text("(float[batch,32] x) => (float[batch,8] y)", "y = MatMul(x, w)")
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (32, 8)})
    x = np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)
    written = _int8(graph, [{"x": x}]).path
    constants = _constants(graph) | _constants(written)
    half_x = constants["x_scale"] / 2
    half_w = constants["w_scale"] / 2
    bound = half_x * np.abs(constants["w"]).sum(axis=0) + np.abs(x).sum(axis=1, keepdims=True) * half_w
    bound = (bound + 32 * half_x * half_w) * (1 + 1e-5)
    error = np.abs(tiny.evaluate(written, {"x": x})[0] - tiny.evaluate(graph, {"x": x})[0])
    assert (error <= bound).all()
    assert error.max() > 0


@pytest.mark.parametrize("method", ["min-max", "entropy"])
def test_a_network_keeps_its_answers(tmp_path: Path, method: str) -> None:
    graph = tiny.residual_cnn(tmp_path)
    written = _int8(graph, list(tiny.images(8)), method).path
    for feed in tiny.images(4, seed=1):
        [exact], [found] = tiny.evaluate(graph, feed), tiny.evaluate(written, feed)
        # 8-bit uniform noise is 6.02 * 8 + 4.77 - 20 log10(peak / rms) dB down; 20 dB leaves room for depth.
        assert 10 * np.log10((exact**2).sum() / ((exact - found) ** 2).sum()) > 20


def test_the_file_has_the_canonical_form(tmp_path: Path) -> None:
    _, written = _cnn(tmp_path)
    nodes = tiny.nodes(written)
    constants = _constants(written)
    for node in nodes.values():
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero_point = constants[node.input[2]]
            assert zero_point.dtype == np.int8
            assert not zero_point.any()
            assert constants[node.input[1]].dtype == np.float32
        if node.op_type in ("Conv", "MatMul"):
            data, weight = nodes[node.input[0]], nodes[node.input[1]]
            assert data.op_type == weight.op_type == "DequantizeLinear"
            assert constants[weight.input[0]].dtype == np.int8
            channels = 0 if node.op_type == "Conv" else 1
            assert constants[weight.input[1]].shape == (constants[weight.input[0]].shape[channels],)
            assert [a.i for a in weight.attribute if a.name == "axis"] == [channels]
        if node.op_type == "Conv":
            assert constants[node.input[2]].dtype == np.float32
    assert nodes["r1"].input[0] == "c1"
    assert nodes["r1_quantized"].input[0] == "r1"
    assert nodes["logits"].op_type == "Add"
    assert constants[nodes["logits"].input[1]].dtype == np.float32


def test_both_sides_of_a_pool_have_the_same_scale(tmp_path: Path) -> None:
    _, written = _cnn(tmp_path)
    constants = _constants(written)
    assert constants["r1_scale"] == constants["p1_scale"]
    assert constants["g_scale"] == constants["f_scale"]


def test_float_readers_of_a_float_tensor_read_it_and_not_its_int8_version(tmp_path: Path) -> None:
    graph = tiny.attention(tmp_path)
    nodes = tiny.nodes(_int8(graph, list(tiny.sentences(4))).path)
    assert list(nodes["res"].input) == ["om", "x"]
    assert nodes["qm"].input[0] == "x_dequantized"


def test_float_readers_of_an_int8_tensor_read_the_int8_version(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[batch,4] x) => (float[batch,4] y, float[batch,4] a)",
        """a = MatMul(x, w1)  b = MatMul(a, w2)  c = MatMul(b, w1)  t = Tanh(b)  y = Mul(t, c)""",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {"w1": (4, 4), "w2": (4, 4)})
    feeds = [{"x": np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)}]
    written = _int8(graph, feeds).path
    nodes = tiny.nodes(written)
    assert nodes["t"].input[0] == "b_dequantized"
    # An output of the graph is what it was; and a weight of two nodes is stored once.
    assert nodes["a"].op_type == "MatMul"
    assert [name for name in _constants(written) if name.startswith("w1")] == ["w1_quantized", "w1_scale"]
    assert nodes["a"].input[1] == nodes["c"].input[1] == "w1_dequantized"


@pytest.mark.parametrize(
    ("least", "greatest", "also", "stays"),
    [
        (-128, 127, "", False),
        (-128, 127, "t = Tanh(r)", True),  # in float something else reads what is clipped
        (-128, 126, "", True),
        (-126, 127, "", True),
        (0, 127, "", True),
    ],
)
def test_a_clip_that_ends_where_int8_does_is_left_to_its_saturation(
    tmp_path: Path, least: int, greatest: int, also: str, stays: bool
) -> None:
    """And the answers are the same to the last bit."""
    step = np.float32(0.01)
    body = f"n = Abs(x) s = Sub(n, far) r = Clip(s, least, greatest) {also} a = MatMul(r, w) y = Mul(a, {{}})"
    text = tiny.graph_text("(float[batch,4] x) => (float[batch,4] y)", body.format("t" if also else "a"))
    bounds = {"least": np.array(least * step), "greatest": np.array(greatest * step)}
    graph = tiny.write(
        tmp_path / "g.onnx", text, {"w": (4, 4)}, far=np.float32(1.28) * np.ones(4, "f"), **bounds
    )
    feeds = [{"x": np.linspace(-4, 4, 4000, dtype=np.float32).reshape(-1, 4)}]
    written = _int8(graph, feeds).path
    assert ("Clip" in [node.op_type for node in tiny.nodes(written).values()]) == stays
    assert ("least" in _constants(written)) == stays
    unclipped, scale = np.abs(feeds[0]["x"]) - np.float32(1.28), _constants(written)["r_scale"]
    clipped = np.clip(unclipped, bounds["least"], bounds["greatest"])
    expected = np.clip(np.rint(clipped / scale), -128, 127)
    np.testing.assert_array_equal(tiny.evaluate(written, feeds[0], "r_quantized")[0], expected)


@pytest.mark.parametrize(("bound", "stays"), [(2.0, False), (3.0, False), (1.0, True)])
def test_a_clip_before_fp8_stays_unless_fp8_ends_before_it(tmp_path: Path, bound: float, stays: bool) -> None:
    """At 448 steps, not at 127; the range is that of a group, and may be wider than the Clip."""
    text = tiny.graph_text(
        "(float[batch,16] x) => (float[batch,16] y)", "n = Neg(x) r = Clip(n, low, high) y = MatMul(r, w)"
    )
    ends = {"low": np.array(-bound, np.float32), "high": np.array(bound, np.float32)}
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (16, 16)}, **ends)
    feeds = [{"x": np.linspace(-4, 4, 1600, dtype=np.float32).reshape(-1, 16)}]
    ranges = replace(calibrate(graph, feeds), tensors={"r": Range(-2.0, 2.0, 2.0)})
    written = write_precision(graph, Precision.FP8, tmp_path / "fp8.onnx", ranges).path
    assert ("Clip" in [node.op_type for node in tiny.nodes(written).values()]) == stays


def test_inputs_and_outputs_are_those_of_the_fp32_file(tmp_path: Path) -> None:
    graph, written = _cnn(tmp_path)
    assert tiny.interface(written) == tiny.interface(graph)


def test_the_same_ranges_give_the_same_bytes(tmp_path: Path) -> None:
    first = _int8(tiny.attention(tmp_path), list(tiny.sentences(3)))
    (tmp_path / "again").mkdir()
    second = _int8(tiny.attention(tmp_path / "again"), list(tiny.sentences(3)))
    assert first.path.read_bytes() == second.path.read_bytes()


def test_names_that_are_taken_are_left_alone(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[batch,4] x, float[batch,4] x_scale) => (float[batch,2] x_quantized)",
        """x_dequantized = Add(x_scale, x)  r = Add(x_dequantized, x)  n = MatMul(x, w)  m = MatMul(r, w)
            x_quantized = Add(n, m)""",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (4, 2)})
    random = np.random.default_rng(0)
    feed = {name: random.standard_normal((5, 4)).astype(np.float32) for name in ("x", "x_scale")}
    written = _int8(graph, [feed]).path
    exact, found = tiny.evaluate(graph, feed), tiny.evaluate(written, feed)
    np.testing.assert_allclose(found[0], exact[0], atol=0.2)


def test_an_old_graph_is_raised_to_an_opset_with_the_operators(tmp_path: Path) -> None:
    text = tiny.RESIDUAL_CNN.replace("ir_version: 10", "ir_version: 7").replace('"": 22', '"": 13')
    graph = tiny.write(tmp_path / "old.onnx", text, tiny.RESIDUAL_CNN_SHAPES)
    model = onnx.load(_int8(graph, list(tiny.images(2))).path)
    assert (model.opset_import[0].version, model.ir_version) == (22, 10)


def test_the_report_names_what_is_int8_and_what_is_not(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[batch,4,4] x) => (float[batch,4,4] y)",
        """[int8] a = MatMul(x, w)  [left] y = MatMul(w, a)""",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (4, 4)})
    report = _int8(graph, [{"x": np.ones((1, 4, 4), np.float32)}])
    assert report.precision is Precision.INT8
    assert report.converted == ("int8",)
    assert report.skipped == (("left", "adds, moves or multiplies a constant in a place of an activation"),)


def test_int8_without_ranges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"int8 of .*cnn\.onnx needs calibrated ranges, got none"):
        write_precision(tiny.residual_cnn(tmp_path), Precision.INT8, tmp_path / "out.onnx")


def test_ranges_of_another_graph_are_refused(tmp_path: Path) -> None:
    ranges = calibrate(tiny.residual_cnn(tmp_path), tiny.images(1))
    with pytest.raises(
        CalibrationError, match=r"the ranges belong to graph \w{12}, but .* calibrate it again"
    ):
        write_precision(tiny.attention(tmp_path), Precision.INT8, tmp_path / "out.onnx", ranges)


def test_a_graph_without_anything_to_quantise_is_refused(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,4] x) => (float[batch,4] y)", "y = Relu(x)")
    graph = tiny.write(tmp_path / "g.onnx", text, {})
    from runtime.graphs import graph_digest

    with pytest.raises(CalibrationError, match="nothing to quantise: INT8 needs a Conv, Gemm or MatMul"):
        write_precision(
            graph, Precision.INT8, tmp_path / "out.onnx", Ranges({}, "min-max", 1, graph_digest(graph))
        )
    assert list(tmp_path.iterdir()) == [graph]


def test_openvino_runs_convolutions_beside_a_transposed_one_as_integers(tmp_path: Path) -> None:
    """They had one zero point in common, and OpenVINO ran all of them in float32."""
    from runtime.backend import Boundary, SessionOptions
    from runtime.openvino import OpenVINOBackend

    body = """[first] a = Conv<pads=[1,1,1,1]>(x, v) b = Relu(a)
        [up] c = ConvTranspose<strides=[2,2]>(b, w, k) [last] d = Conv<pads=[1,1,1,1]>(c, u) y = Relu(d)"""
    text = tiny.graph_text("(float[batch,32,8,8] x) => (float[batch,64,16,16] y)", body)
    shapes = {"v": (64, 32, 3, 3), "w": (64, 64, 2, 2), "k": (64,), "u": (64, 64, 3, 3)}
    graph = tiny.write(tmp_path / "g.onnx", text, shapes)
    feeds = [{"x": np.random.default_rng(0).standard_normal((1, 32, 8, 8)).astype(np.float32)}]
    backend = OpenVINOBackend()
    if reason := backend.unavailable():
        pytest.skip(reason)
    with backend.open(_int8(graph, feeds).path, "cpu", SessionOptions()) as session:
        session.bind(feeds[0], Boundary.DEVICE).run()
        shares = session.executed().macs_by_type
    transposed = 8 * 8 * 64 * 64 * 4  # is taken as integers or not, from processor to processor
    convolutions = 8 * 8 * 64 * 32 * 9 + 16 * 16 * 64 * 64 * 9
    assert shares["int8"] > 0.999 * convolutions / (convolutions + transposed)
