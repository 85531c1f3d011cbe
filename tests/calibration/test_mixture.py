"""INT8 graphs with layers in 16 bits, against ONNX's reference evaluator on the float graph."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from calibration.collect import calibrate
from calibration.half_ranges import Magnitudes, observe_magnitudes
from calibration.mixture import Apart
from calibration.precision import Precision
from calibration.prepare import Quantisable
from calibration.write import PrecisionReport, write_int8
from tests.calibration import tiny
from tests.calibration.planted import BAD, planted

HALVES = pytest.mark.parametrize(
    ("precision", "data_type"),
    [(Precision.FP16, TensorProto.FLOAT16), (Precision.BF16, TensorProto.BFLOAT16)],
)


def _quantisable(graph: Path) -> Quantisable:
    return Quantisable(graph, calibrate(graph, tiny.images(8), "min-max"))


def _written(graph: Path, *layers: str, precision: Precision) -> PrecisionReport:
    magnitudes = observe_magnitudes(graph, tiny.images(8)) if precision.is_half else None
    out = graph.with_name(f"{precision}.onnx")
    return write_int8(_quantisable(graph), out, Apart(layers, precision, magnitudes))


def _computed_in(path: Path) -> dict[str, int]:
    """The element type of what each named node makes."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    graph = model.graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    return {node.name: types[node.output[0]] for node in graph.node}


@HALVES
def test_a_layer_is_in_16_bits_with_what_is_fused_to_it_and_nothing_else_is(
    precision: Precision, data_type: int, tmp_path: Path
) -> None:
    report = _written(tiny.residual_cnn(tmp_path), "branch", "classify", precision=precision)
    found = _computed_in(report.path)
    named = {"stem", "stem_relu", "branch", "sum", "sum_relu", "gap", "classify"}
    narrow = {name for name in named if found[name] == data_type}
    assert narrow == {"branch", "classify"}
    # the bias of a Gemm that was split
    assert (
        Counter(found.values())[data_type]
        == len(narrow) + Counter(_types_of_casts(report.path))[data_type] + 1
    )
    [entry] = [each for each in report.kept if each.node == "branch"]
    assert (
        entry.reason
        == f"kept in {'float16' if precision is Precision.FP16 else 'bfloat16'} to hold the accuracy"
    )
    assert report.precision is Precision.INT8_MIXED
    assert "branch" not in report.converted


def _types_of_casts(path: Path) -> list[int]:
    nodes = onnx.load(path).graph.node
    return [node.attribute[0].i for node in nodes if node.op_type == "Cast"]


@HALVES
def test_16_bits_hold_what_float32_held(precision: Precision, data_type: int, tmp_path: Path) -> None:
    graph = planted(tmp_path)
    half = _written(graph, BAD, precision=precision).path
    full = _written(graph, BAD, precision=Precision.FP32).path
    noise = dict.fromkeys((half, full), 0.0)
    for feed in tiny.images(4):
        [exact] = tiny.evaluate(graph, feed)
        for path in noise:
            noise[path] += float(np.square(tiny.evaluate(path, feed)[0] - exact).sum())
    # Two layers' rounding by 2**-9 at most is far below three layers' by a 254th of their largest value.
    assert noise[half] < 1.5 * noise[full]


def test_an_activation_is_fused_and_a_sum_of_two_activations_is_not(tmp_path: Path) -> None:
    found = _computed_in(_written(planted(tmp_path), BAD, precision=Precision.FP16).path)
    assert {
        name for name in ("second_relu", BAD, "bad_relu", "fourth") if found[name] == TensorProto.FLOAT16
    } == {
        BAD,
        "bad_relu",
    }


@HALVES
def test_a_layer_may_read_what_others_read_as_int8(
    precision: Precision, data_type: int, tmp_path: Path
) -> None:
    """As a branch of GoogLeNet, beside three others."""
    text = tiny.graph_text(
        "(float[batch,3,16,16] images) => (float[batch,8,16,16] y)",
        """[stem] c = Conv<pads=[1,1,1,1]>(images, w) [relu] r = Relu(c)
        [one] a = Conv<pads=[1,1,1,1]>(r, v) [two] b = Conv<pads=[1,1,1,1]>(r, u) [sum] y = Add(a, b)""",
    )
    shapes = {"w": (8, 3, 3, 3), "v": (8, 8, 3, 3), "u": (8, 8, 3, 3)}
    graph = tiny.write(tmp_path / "g.onnx", text, shapes)
    found = _computed_in(_written(graph, "one", precision=precision).path)
    assert (found["one"], found["two"]) == (data_type, TensorProto.FLOAT)


def test_what_float16_cannot_hold_is_kept_in_float32_and_says_why(tmp_path: Path) -> None:
    graph = planted(tmp_path)
    magnitudes = {**observe_magnitudes(graph, tiny.images(8)), "s2": Magnitudes(0.0, 1e6, 0.0)}
    out = tmp_path / "mixed.onnx"
    report = write_int8(_quantisable(graph), out, Apart([BAD, "fourth"], Precision.FP16, magnitudes))
    found = _computed_in(out)
    assert (found[BAD], found["fourth"]) == (TensorProto.FLOAT, TensorProto.FLOAT16)
    kept = {each.node: each for each in report.kept}
    assert kept[BAD].reason == "values there come near the end of float16 or lie beyond"
    assert (kept[BAD].tensor, kept[BAD].maximum) == ("s2", 1e6)
    assert kept["fourth"].reason == "kept in float16 to hold the accuracy"
