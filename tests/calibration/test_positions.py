"""Boxes and places in a 16-bit graph: oracles are the FP32 graph, and numbers that 16 bits cannot hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.half import HALF_FORMATS
from calibration.positions import REASON
from calibration.precision import Precision
from calibration.write import PrecisionReport, write_precision
from runtime.tensors import Array
from tests.calibration import tiny

HALVES = pytest.mark.parametrize("precision", HALF_FORMATS)


def _write(folder: Path, signature: str, body: str, **constants: Array) -> Path:
    return tiny.write(folder / "g.onnx", tiny.graph_text(signature, body), {}, **constants)


def _half(graph: Path, precision: Precision) -> PrecisionReport:
    return write_precision(graph, precision, graph.with_suffix(f".{precision}.onnx"))


def _kept(report: PrecisionReport) -> set[str]:
    return {node for node, reason in report.skipped if reason == REASON}


@HALVES
def test_a_place_beyond_what_16_bits_count_to_is_found(tmp_path: Path, precision: Precision) -> None:
    """FP16 counts to 2048 in ones, BF16 to 256: the even neighbours of 2049 and 4095 are others."""
    graph = _write(
        tmp_path,
        "(float[2] x) => (float[2] y)",
        "[scaled] p = Mul(x, s) [whole] i = Cast<to=7>(p) [looked] y = Gather(table, i)",
        s=np.array(4096, np.float32),
        table=np.arange(4096, dtype=np.float32) % 7,
    )
    report = _half(graph, precision)
    feed = {"x": np.array([2049.5 / 4096, 4095.5 / 4096], np.float32)}
    [found] = tiny.evaluate(report.path, feed)
    assert found.tolist() == [2049 % 7, 4095 % 7]
    assert "scaled" in _kept(report)


@HALVES
def test_boxes_are_suppressed_and_answered_as_in_float32(tmp_path: Path, precision: Precision) -> None:
    """Boxes of a thousand pixels: a shift of 16 bits' rounding would change corners, and what overlaps."""
    graph = _write(
        tmp_path,
        "(float[1,6,4] raw, float[1,1,6] scores) => (float[kept,4] y)",
        """[moved] boxes = Add(raw, shift)
        [suppress] rows = NonMaxSuppression(boxes, scores, most, limit)
        [box] index = Gather<axis=1>(rows, two)
        [flat] all = Squeeze(boxes, zero)
        [chosen] y = Gather(all, index)""",
        shift=np.array([1000, 1000, 1100, 1100], np.float32),
        most=np.array([6], np.int64),
        limit=np.array([0.5], np.float32),
        two=np.array(2),
        zero=np.array([0]),
    )
    report = _half(graph, precision)
    rng = np.random.default_rng(0)
    feed = {
        "raw": np.repeat(rng.uniform(0, 60, (1, 6, 1)), 4, axis=2).astype(np.float32),
        "scores": rng.uniform(size=(1, 1, 6)).astype(np.float32),
    }
    [exact], [found] = tiny.evaluate(graph, feed), tiny.evaluate(report.path, feed)
    assert 1 < len(exact) < 6
    np.testing.assert_array_equal(found, exact)
    assert {"moved", "chosen"} <= _kept(report)


@HALVES
def test_the_products_before_boxes_are_16_bits_wide(tmp_path: Path, precision: Precision) -> None:
    graph = _write(
        tmp_path,
        "(float[1,6,8] x, float[1,1,6] scores) => (int64[rows,3] y)",
        """[product] boxes = MatMul(x, w) [wider] wide = Mul(boxes, s)
        [suppress] y = NonMaxSuppression(wide, scores, most)""",
        w=np.ones((8, 4), np.float32),
        s=np.array(2, np.float32),
        most=np.array([6], np.int64),
    )
    report = _half(graph, precision)
    assert "product" in report.converted
    assert _kept(report) == {"wider", "suppress"}


@HALVES
def test_regions_are_positions_and_the_features_in_them_are_not(tmp_path: Path, precision: Precision) -> None:
    graph = _write(
        tmp_path,
        "(float[1,8,9,9] x, float[1,4] box, int64[1] image) => (float[1,8,2,2] y)",
        """[before] features = Conv(x, w) [rectify] kept = Relu(features) [wider] regions = Mul(box, s)
        [align] crops = RoiAlign<output_height=2, output_width=2>(kept, regions, image)
        [after] y = Conv(crops, w)""",
        w=np.ones((8, 8, 1, 1), np.float32),
        s=np.array(2, np.float32),
    )
    report = _half(graph, precision)
    assert set(report.converted) == {"before", "rectify", "after"}
    assert _kept(report) == {"wider"}
    assert {node for node, _ in report.skipped} == {"wider", "align"}


@HALVES
def test_a_network_without_positions_keeps_nothing_for_them(tmp_path: Path, precision: Precision) -> None:
    assert not _kept(_half(tiny.residual_cnn(tmp_path), precision))
