"""Against ONNX's reference evaluator: the FP32 graph, the INT8 file, and the file with one layer in INT8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from calibration.choices import behind_choices, comparable_ends
from calibration.collect import calibrate
from calibration.precision import Precision
from calibration.prepare import Quantisable
from calibration.ranges import Range, Ranges
from calibration.sensitivity import Comparing, LayerSensitivity, Sensitivity, measure_sensitivity
from calibration.write import write_precision
from runtime.errors import CalibrationError, FeedError
from runtime.graphs import graph_digest
from runtime.tensors import Array, Feed
from tests.calibration import tiny
from tests.calibration.planted import BAD, planted

NETWORKS: Mapping[str, tuple[Callable[[Path], Path], Callable[[], list[Feed]]]] = {
    "cnn": (tiny.residual_cnn, lambda: list(tiny.images(3))),
    "attention": (tiny.attention, lambda: list(tiny.sentences(3))),
}
RESULTS = {
    "cnn": {"stem": "c1", "branch": "c2"},
    "attention": {"q": "qm", "k": "km", "v": "vm", "scores": "qk", "out": "om"},
}
"""The tensor that each layer makes; the CNN's classifier is behind an average, which is INT8 with it."""

DECIBELS = 0.05
"""Between two float32 evaluators: values that lie next to a step of INT8 may be rounded to either side."""


@pytest.fixture(params=NETWORKS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, list[Feed], Ranges]:
    build, feeds = NETWORKS[request.param]
    graph, samples = build(tmp_path), feeds()
    return request.param, graph, samples, calibrate(graph, samples, "min-max")


def _measured(
    graph: Path, feeds: list[Feed], ranges: Ranges | None = None, **how: object
) -> dict[str, LayerSensitivity]:
    found = _sensitivity(graph, feeds, ranges, **how)
    return {layer.node: layer for layer in found.layers}


def _sensitivity(graph: Path, feeds: list[Feed], ranges: Ranges | None = None, **how: object) -> Sensitivity:
    ranges = ranges or calibrate(graph, feeds, "min-max")
    return measure_sensitivity(Quantisable(graph, ranges), feeds, how=Comparing(**how))  # type: ignore[arg-type]


def _decibels(wanted: list[Array], found: list[Array]) -> float:
    signal = sum(float(np.sum(np.square(each, dtype=np.float64))) for each in wanted)
    noise = sum(float(np.sum(np.square(a.astype(float) - b))) for a, b in zip(wanted, found, strict=True))
    return float(10 * np.log10(signal / noise))


def _evaluated(graph: Path, feeds: list[Feed], tensor: str) -> list[Array]:
    return [tiny.evaluate(graph, feed, tensor)[0] for feed in feeds]


def test_every_layer_is_compared_as_files_with_it_alone_in_int8_are(
    case: tuple[str, Path, list[Feed], Ranges], tmp_path: Path
) -> None:
    name, graph, feeds, ranges = case
    layers = _measured(graph, feeds, ranges)
    for node, tensor in RESULTS[name].items():
        others = tuple(other for other in layers if other != node)
        alone = tmp_path / "alone.onnx"
        write_precision(graph, Precision.INT8_MIXED, alone, ranges, keep=others)
        found = {tensor: layers[node].sqnr_db}
        if name == "attention":  # what the CNN's stem hands to the float MaxPool is quantised as well
            found["y"] = layers[node].output_sqnr_db
        for result, decibels in found.items():
            want = _decibels(_evaluated(graph, feeds, result), _evaluated(alone, feeds, result))
            assert decibels == pytest.approx(want, abs=DECIBELS), (node, result)


def test_cumulative_noise_is_that_inside_of_the_int8_file(
    case: tuple[str, Path, list[Feed], Ranges], tmp_path: Path
) -> None:
    name, graph, feeds, ranges = case
    int8 = write_precision(graph, Precision.INT8, tmp_path / "int8.onnx", ranges).path
    layers = _measured(graph, feeds, ranges)
    for node, tensor in RESULTS[name].items():
        want = _decibels(_evaluated(graph, feeds, tensor), _evaluated(int8, feeds, tensor))
        assert layers[node].cumulative_sqnr_db == pytest.approx(want, abs=DECIBELS), node


def test_layers_come_in_the_graphs_order_with_their_share_of_the_arithmetic(tmp_path: Path) -> None:
    found = _sensitivity(tiny.residual_cnn(tmp_path), list(tiny.images(3)))
    # of one image: 16 x 16 x 3 x 3 x 3 x 8, 8 x 8 x 3 x 3 x 8 x 8, 8 x 10
    macs = {"stem": 55296, "branch": 36864, "classify": 80}
    assert {layer.node: layer.macs for layer in found.layers} == macs
    assert list(macs) == [layer.node for layer in found.layers]
    assert [layer.op_type for layer in found.layers] == ["Conv", "Conv", "MatMul"]
    assert found.layers[0].macs_share == pytest.approx(55296 / sum(macs.values()))
    assert found.samples == found.output_samples == 3


def test_the_batching_of_the_samples_makes_no_difference(tmp_path: Path) -> None:
    graph = tiny.residual_cnn(tmp_path)
    ranges = calibrate(graph, tiny.images(6), "min-max")
    one, six = (_sensitivity(graph, list(tiny.images(6, batch=size)), ranges) for size in (1, 6))
    assert one == six


def test_samples_stay_together_where_they_depend_on_each_other(tmp_path: Path) -> None:
    graph = tiny.residual_cnn(tmp_path)
    ranges = calibrate(graph, tiny.images(6), "min-max")
    found = _sensitivity(graph, list(tiny.images(6, batch=3)), ranges, together=True, output_samples=1)
    assert (found.samples, found.output_samples) == (6, 3)


def test_the_planted_layer_is_ranked_first(tmp_path: Path) -> None:
    for samples in (0, 2):
        found = _sensitivity(planted(tmp_path), list(tiny.images(4)), output_samples=samples)
        assert found.ranking[0].node == BAD
        assert found.output_samples == samples
        assert found.ranking[0].damage > 100 * found.ranking[1].damage


def test_layers_are_ranked_by_what_outputs_lose_or_else_by_their_own_noise(tmp_path: Path) -> None:
    graph, feeds = tiny.attention(tmp_path), list(tiny.sentences(3))
    by_outputs, by_layer = (_sensitivity(graph, feeds, output_samples=count) for count in (3, 0))
    measured = [layer.output_damage for layer in by_outputs.ranking]
    assert None not in measured
    assert measured == sorted(measured, key=lambda each: -(each or 0))
    assert all(layer.output_damage is None for layer in by_layer.layers)
    own = [layer.noise / layer.signal for layer in by_layer.ranking]
    assert own == sorted(own, reverse=True)


def test_noise_that_single_layers_send_to_the_outputs_adds_up_to_that_of_the_int8_file(
    tmp_path: Path,
) -> None:
    graph, feeds = tiny.attention(tmp_path), list(tiny.sentences(12))
    found = _sensitivity(graph, feeds, output_samples=12)
    int8 = write_precision(
        graph, Precision.INT8, tmp_path / "8.onnx", calibrate(graph, feeds, "min-max")
    ).path
    want = _decibels(_evaluated(graph, feeds, "y"), _evaluated(int8, feeds, "y"))
    # An estimate: the layers' noises are nearly, not quite uncorrelated.
    assert -10 * np.log10(sum(layer.damage for layer in found.layers)) == pytest.approx(want, abs=1.0)


BEHIND = """
    [before] a = MatMul(x, w)
    [best] values, places = TopK<axis=-1>(a, k)
    [after] y = MatMul(values, v)
"""


def _choosing(folder: Path) -> Path:
    text = tiny.graph_text("(float[batch,8] x) => (float[batch,4] y)", BEHIND)
    k = np.array([4], np.int64)
    return tiny.write(folder / "choosing.onnx", text, {"w": (8, 8), "v": (4, 4)}, k=k)


def test_behind_a_choice_layers_are_compared_on_their_own_inputs_alone(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    layers = _measured(_choosing(tmp_path), [{"x": rows}], output_samples=6)
    assert layers["before"].cumulative_noise is not None
    assert layers["before"].output_damage == pytest.approx(layers["before"].own_damage, rel=1e-3)
    assert (layers["after"].cumulative_noise, layers["after"].output_damage) == (None, None)
    assert layers["after"].damage == layers["after"].own_damage > 0


def test_what_a_body_reads_from_outside_is_the_last_that_can_be_compared() -> None:
    text = """<ir_version: 10, opset_import: ["": 22]>
        outer (float[4] x, bool[] b) => (float[4] y) {
            c = Relu(x)
            d = If (b) <then_branch = t () => (float[4] e) { e = Neg(c) },
                        else_branch = f () => (float[4] g) { g = Identity(c) }>
            y = Abs(d)
        }"""
    graph = ir.from_proto(onnx.parser.parse_model(text)).graph
    assert {value.name for value in behind_choices(graph)} == {"d", "y"}
    graph[0].outputs[0].dtype = ir.DataType.FLOAT
    assert [value.name for value in comparable_ends(graph)] == ["c"]


def test_a_layer_that_int8_leaves_as_it_is_has_no_ratio() -> None:
    same = LayerSensitivity("n", "Conv", 1, 1.0, 4.0, 0.0, 0.0, 0.0)
    assert (same.damage, same.sqnr_db, same.cumulative_sqnr_db, same.output_sqnr_db) == (
        0.0,
        None,
        None,
        None,
    )
    lost = LayerSensitivity("n", "Conv", 1, 1.0, 0.0, 1.0, None)
    assert (lost.damage, lost.sqnr_db) == (np.inf, -np.inf)


def test_without_samples_there_is_nothing_to_compare(tmp_path: Path) -> None:
    graph = tiny.residual_cnn(tmp_path)
    ranges = calibrate(graph, tiny.images(1))
    with pytest.raises(CalibrationError, match=r"no feeds to compare .*cnn.onnx.*at least one sample"):
        measure_sensitivity(Quantisable(graph, ranges), [], how=Comparing())


def test_a_sample_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    graph = tiny.residual_cnn(tmp_path)
    with pytest.raises(FeedError, match="missing"):
        _sensitivity(
            graph, [{"pictures": np.zeros((1, 3, 16, 16), np.float32)}], calibrate(graph, tiny.images(1))
        )


def test_a_graph_without_products_has_nothing_to_quantise(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,4] x) => (float[batch,4] y)", "y = Relu(x)")
    graph = tiny.write(tmp_path / "relu.onnx", text, {})
    ranges = Ranges({}, "min-max", 1, graph_digest(graph))
    with pytest.raises(CalibrationError, match="nothing to quantise"):
        measure_sensitivity(
            Quantisable(graph, ranges), [{"x": np.zeros((1, 4), np.float32)}], how=Comparing()
        )


def test_squares_beyond_float32_are_said(tmp_path: Path) -> None:
    text = tiny.graph_text("(float[batch,4] x) => (float[batch,4] y)", "[product] y = MatMul(x, w)")
    graph = tiny.write(tmp_path / "large.onnx", text, {"w": (4, 4)})
    ranges = Ranges({"x": Range(-1e30, 1e30, 1e30)}, "min-max", 1, graph_digest(graph))
    feed = {"x": np.full((1, 4), 1e30, np.float32)}
    with pytest.raises(CalibrationError, match="MatMul 'product' computes go beyond float32"):
        measure_sensitivity(Quantisable(graph, ranges), [feed], how=Comparing())
