"""Every precision of four small networks through the runtimes' own parsers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from calibration.collect import calibrate
from calibration.half_ranges import observe_magnitudes
from calibration.precision import Precision
from calibration.write import write_precision
from runtime.tensors import Array, Feed
from tests.calibration import tiny
from tests.runtime.trt_zoo import refusal

NETWORKS: Mapping[str, tuple[Callable[[Path], Path], Callable[[], list[Feed]]]] = {
    "cnn": (tiny.residual_cnn, lambda: list(tiny.images(4))),
    "wide cnn": (tiny.wide_cnn, lambda: list(tiny.wide_images(4))),
    "pyramid": (tiny.pyramid, lambda: list(tiny.wide_images(4))),
    "attention": (tiny.attention, lambda: list(tiny.sentences(4))),
}

NO_MATRIX_OF_16_ROWS = {("cnn", Precision.INT4), ("pyramid", Precision.INT4)}


def _cases(precisions: Iterable[Precision]) -> pytest.MarkDecorator:
    cases = [case for case in product(NETWORKS, precisions) if case not in NO_MATRIX_OF_16_ROWS]
    return pytest.mark.parametrize(("network", "precision"), cases, indirect=["network"])


@pytest.fixture
def network(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[Feed]]:
    build, feeds = NETWORKS[request.param]
    return build(tmp_path), feeds()


def _at(network: tuple[Path, list[Feed]], precision: Precision) -> Path:
    graph, feeds = network
    ranges = calibrate(graph, feeds) if precision.needs_ranges else None
    magnitudes = observe_magnitudes(graph, feeds) if precision.is_half else None
    out = graph.with_suffix(f".{precision}.onnx")
    return write_precision(graph, precision, out, ranges, magnitudes=magnitudes).path


@_cases(Precision)
def test_tensorrt_parses_types_and_builds_it(network: tuple[Path, list[Feed]], precision: Precision) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert refusal(_at(network, precision), precision, {"batch": 4}) == ""


@_cases([Precision.FP16, Precision.INT8, Precision.FP8])
def test_onnxruntime_gives_the_reference_evaluators_answer(
    network: tuple[Path, list[Feed]], precision: Precision
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = _at(network, precision)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for feed in network[1]:
        _assert_close(session.run(None, dict(feed))[0], tiny.evaluate(path, feed)[0])


@_cases(Precision)
def test_openvino_gives_the_reference_evaluators_answer(
    network: tuple[Path, list[Feed]], precision: Precision
) -> None:
    openvino = pytest.importorskip("openvino")
    path = _at(network, precision)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for feed in network[1]:
        _assert_close(compiled(dict(feed))[0], tiny.evaluate(path, feed)[0])


def _assert_close(found: Array, expected: Array) -> None:
    """Kernels round in other places than the evaluator: a value next to a step of INT8 may land on the
    other side, which moves a result by a step; BF16 has 8 bits as well."""
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) <= 0.03 * np.linalg.norm(expected)
