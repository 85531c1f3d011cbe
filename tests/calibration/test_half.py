from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from calibration.graphs import LEAST_OPSET
from calibration.half import HALF_FORMATS, STAYS_FLOAT
from calibration.positions import REASON
from calibration.precision import Precision
from calibration.write import PrecisionReport, write_precision
from runtime.tensors import Array, Feed
from tests.calibration import tiny

HALVES = pytest.mark.parametrize("precision", HALF_FORMATS)
UNIT_ROUNDOFF = {Precision.FP16: 2.0**-11, Precision.BF16: 2.0**-8}
ONNX_TYPE = {Precision.FP16: TensorProto.FLOAT16, Precision.BF16: TensorProto.BFLOAT16}


def _half(graph: Path, precision: Precision = Precision.FP16) -> PrecisionReport:
    return write_precision(graph, precision, graph.with_suffix(f".{precision}.onnx"))


def _written(folder: Path, body: str, **constants: Array) -> Path:
    signature = "(float[batch,8] x) => (float[batch,8] y)"
    return tiny.write(folder / "g.onnx", tiny.graph_text(signature, body), {}, **constants)


def _types(path: Path) -> dict[str, int]:
    """Element type of every tensor, by ONNX's own shape inference."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    graph = model.graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    return types | {t.name: t.data_type for t in graph.initializer}


def _one(values: object) -> Array:
    return np.array(values, np.float32)


@pytest.mark.parametrize("op_type", STAYS_FLOAT)
def test_each_operator_of_the_table_is_a_standard_one(op_type: str) -> None:
    assert onnx.defs.get_schema(op_type, LEAST_OPSET).name == op_type


@HALVES
def test_a_network_is_within_the_rounding_of_its_depth(tmp_path: Path, precision: Precision) -> None:
    graph = tiny.residual_cnn(tmp_path)
    written = _half(graph, precision).path
    for feed in tiny.images(4):
        [exact], [found] = tiny.evaluate(graph, feed), tiny.evaluate(written, feed)
        # Nine layers, each rounding its weights, its sum of up to 72 products and its result; the sums'
        # errors add like a random walk (sqrt(72) < 9).
        bound = 9 * (2 + 9) * UNIT_ROUNDOFF[precision]
        assert np.linalg.norm(found - exact) <= bound * np.linalg.norm(exact)
        assert np.any(found != exact)


@HALVES
def test_attention_with_a_far_mask_and_a_tiny_epsilon_stays_finite(
    tmp_path: Path, precision: Precision
) -> None:
    graph = tiny.attention(tmp_path)
    written = _half(graph, precision).path
    for feed in (
        *tiny.sentences(3),
        {"x": np.zeros((1, 6, 16), np.float32), "mask": np.zeros((1, 6), np.int32)},
    ):
        [exact], [found] = tiny.evaluate(graph, feed), tiny.evaluate(written, feed)
        np.testing.assert_allclose(found, exact, atol=40 * UNIT_ROUNDOFF[precision])


@HALVES
def test_every_value_inside_is_half_and_the_interface_is_not(tmp_path: Path, precision: Precision) -> None:
    graph = tiny.residual_cnn(tmp_path)
    report = _half(graph, precision)
    types = _types(report.path)
    outside = {"images", "logits"}
    assert {name for name, kind in types.items() if kind == TensorProto.FLOAT} == outside
    assert {kind for name, kind in types.items() if name not in outside} == {ONNX_TYPE[precision]}
    assert tiny.interface(report.path) == tiny.interface(graph)
    assert report.skipped == ()
    assert "stem" in report.converted


@HALVES
def test_the_same_file_gives_the_same_bytes(tmp_path: Path, precision: Precision) -> None:
    graph = tiny.attention(tmp_path)
    assert _half(graph, precision).path.read_bytes() == _half(graph, precision).path.read_bytes()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_constants_are_rounded_to_nearest_even_and_stay_finite(dtype: type) -> None:
    half = next(h for h in HALF_FORMATS.values() if h.data_type.numpy() == dtype)
    normal = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    np.testing.assert_array_equal(half.rounded(normal), normal.astype(dtype))
    extreme = half.rounded(_one([3.4e38, -3.4e38, np.inf, -np.inf])).astype(np.float64)
    greatest = {np.float16: 65504.0, ml_dtypes.bfloat16: (2 - 2.0**-7) * 2.0**127}[dtype]
    assert extreme.tolist() == [greatest, -greatest, np.inf, -np.inf]
    assert half.greatest == greatest


def test_a_decomposed_norm_keeps_its_statistics_in_float(tmp_path: Path) -> None:
    body = """
        mean = ReduceMean(x, axes)  d = Sub(x, mean)  sq = Mul(d, d)  var = ReduceMean(sq, axes)
        [epsilon] ve = Add(var, eps)  sd = Sqrt(ve)  inv = Reciprocal(sd)  y = Mul(d, inv)
    """
    graph = _written(tmp_path, body, eps=_one(1e-12), axes=np.array([1]))
    report = _half(graph)
    # Without the float island: 300 * 300 overflows, and a constant row divides 0 by 0.
    feed: Feed = {"x": np.stack([np.linspace(-300, 300, 8), np.full(8, 5)]).astype(np.float32)}
    [exact], [found] = tiny.evaluate(graph, feed), tiny.evaluate(report.path, feed)
    np.testing.assert_allclose(found, exact, atol=4 * UNIT_ROUNDOFF[Precision.FP16])
    assert dict(report.skipped)["epsilon"] == "it has a constant that float16 cannot hold"
    types = _types(report.path)
    assert {types[name] for name in ("sq", "var", "ve", "sd", "inv")} == {TensorProto.FLOAT}
    assert types["d"] == TensorProto.FLOAT16


@HALVES
def test_a_cube_may_overflow_where_the_result_does_not(tmp_path: Path, precision: Precision) -> None:
    body = """
        cube = Pow(x, three)  part = Mul(cube, k)  sum = Add(x, part)  t = Tanh(sum)  up = Add(t, one)
        y = Mul(x, up)
    """
    graph = _written(tmp_path, body, three=_one(3), k=_one(0.044715), one=_one(1))
    feed = {"x": _one([[-200, -50, -1, 0, 1, 50, 100, 200]])}
    [exact], [found] = tiny.evaluate(graph, feed), tiny.evaluate(_half(graph, precision).path, feed)
    np.testing.assert_allclose(found, exact, rtol=8 * UNIT_ROUNDOFF[precision], atol=0.02)


def test_what_the_schema_forbids_stays_float(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[1,1,4,4] x) => (float[1,1,8,8] y)",
        """r = Relu(x)  [up] y = Resize(r, , scales)""",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {}, scales=_one([1, 1, 2, 2]))
    report = _half(graph)
    nodes = tiny.nodes(report.path)
    resize = next(node for node in nodes.values() if node.op_type == "Resize")
    assert resize.input[2] == "scales"
    assert "up" in report.converted
    bf16 = _half(_written(tmp_path, "[shrink] y = Shrink(x)"), Precision.BF16)
    assert bf16.skipped == (("shrink", "ONNX does not allow bfloat16 here"),)


def test_a_recurrent_layer_stays_float_and_says_why(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[3,batch,4] x) => (float[3,1,batch,5] y)",
        """r = Relu(x)  [lstm] y = LSTM<hidden_size=5>(r, w, u)""",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (1, 20, 4), "u": (1, 20, 5)})
    assert _half(graph).skipped == (("lstm", "ONNX Runtime's recurrent kernels crash on 16-bit floats"),)


@pytest.mark.parametrize("reduction", ["add", "none"])
def test_what_adds_up_in_place_stays_float_and_what_only_moves_does_not(
    tmp_path: Path, reduction: str
) -> None:
    text = tiny.graph_text(
        "(float[batch,8] x, int64[2,1] places) => (float[batch,8] y)",
        f"""r = Relu(x)  [scatter] y = ScatterND<reduction="{reduction}">(r, places, updates)""",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {}, updates=_one(np.ones((2, 8))))
    reason = "its sums and squares need the range and the digits of float32"
    assert _half(graph).skipped == ((("scatter", reason),) if reduction == "add" else ())


def test_a_graph_inside_a_node_gets_its_values_in_float(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[batch,8] x, bool[1] flag) => (float[batch,8] y)",
        """r = Relu(x)
            [if] y = If(flag) <
                then_branch = g1 () => (float[batch,8] a) { a = Add(r, x) },
                else_branch = g2 () => (float[batch,8] b) { b = Mul(r, two) }
            >""",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {}, two=_one(2))
    report = _half(graph)
    feed: Feed = {"x": np.linspace(-4, 4, 16, dtype=np.float32).reshape(2, 8), "flag": np.array([False])}
    [exact], [found] = tiny.evaluate(graph, feed), tiny.evaluate(report.path, feed)
    np.testing.assert_allclose(found, exact, rtol=UNIT_ROUNDOFF[Precision.FP16])
    assert dict(report.skipped)["if"].startswith("it holds a graph of its own")


def test_an_output_that_is_read_again_and_one_that_is_an_input_keep_their_names(tmp_path: Path) -> None:
    text = tiny.graph_text(
        "(float[batch,8] x) => (float[batch,8] a, float[batch,8] b)",
        """a = Relu(x)  p = Pow(a, two)  b = Add(a, p)""",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {}, two=_one(2))
    written = _half(graph).path
    assert tiny.interface(written) == tiny.interface(graph)
    feed = {"x": np.linspace(-4, 4, 8, dtype=np.float32).reshape(1, 8)}
    for exact, found in zip(tiny.evaluate(graph, feed), tiny.evaluate(written, feed), strict=True):
        np.testing.assert_allclose(found, exact, rtol=4 * UNIT_ROUNDOFF[Precision.FP16])


def test_constants_in_nodes_and_casts_from_integers_are_converted(tmp_path: Path) -> None:
    body = """
        c = Constant<value = float {2.5}>()  i = Cast<to=7>(x)  f = Cast<to=1>(i)  z = Mul(f, c)
        [low] y = Clip(z, lo, hi)
    """
    report = _half(_written(tmp_path, body, lo=_one(-6), hi=_one(6)))
    types = _types(report.path)
    assert {types["f"], types["z"], types["lo_float16"]} == {TensorProto.FLOAT16}
    assert types["i"] == TensorProto.INT64
    assert report.skipped == (("i", REASON),)


def test_a_mask_beyond_the_format_is_clamped_not_infinite(tmp_path: Path) -> None:
    constants = {
        t.name: numpy_helper.to_array(t)
        for t in onnx.load(_half(tiny.attention(tmp_path)).path).graph.initializer
    }
    assert constants["far_float16"] == -65504


def test_fp32_is_a_copy(tmp_path: Path) -> None:
    graph = tiny.residual_cnn(tmp_path)
    report = write_precision(graph, Precision.FP32, tmp_path / "out" / "fp32.onnx")
    assert report.path.read_bytes() == graph.read_bytes()


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_weights_outside_the_file_are_taken_in(tmp_path: Path, precision: Precision) -> None:
    graph = tiny.residual_cnn(tmp_path)
    (tmp_path / "outside").mkdir()
    outside = tmp_path / "outside" / "cnn.onnx"
    onnx.save(onnx.load(graph), outside, save_as_external_data=True, location="w.data", size_threshold=0)
    written = write_precision(outside, precision, tmp_path / "elsewhere" / "out.onnx").path
    feed = next(iter(tiny.images(1)))
    np.testing.assert_allclose(
        tiny.evaluate(written, feed)[0], tiny.evaluate(graph, feed)[0], rtol=0.1, atol=0.01
    )
