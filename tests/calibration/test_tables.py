"""Large tables are stored as int8, a scale a row, and small ones are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from calibration import tables
from calibration.collect import calibrate
from calibration.precision import Precision
from calibration.qdq import quantise_weight
from calibration.write import write_precision
from runtime.tensors import Array
from tests.calibration import tiny

ROWS, WIDTH = 40, 8


def _graph(folder: Path, table: Array) -> Path:
    text = tiny.graph_text(
        "(int32[batch] i) => (float[batch,4] y)", "[look] e = Gather(table, i)  [dense] y = MatMul(e, w)"
    )
    return tiny.write(folder / "g.onnx", text, {"w": (WIDTH, 4)}, table=table)


def _int8(graph: Path) -> tuple[onnx.ModelProto, tuple[str, ...], Path]:
    feeds = [{"i": np.arange(ROWS, dtype=np.int32)}]
    written = graph.with_name("int8.onnx")
    report = write_precision(graph, Precision.INT8, written, calibrate(graph, feeds))
    return onnx.load(written), report.converted, written


@pytest.fixture
def table() -> Array:
    """Rows of sizes that differ by six orders of magnitude, and one of zeros."""
    sizes = np.logspace(-3, 3, ROWS, dtype=np.float32)
    rows: Array = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32) * sizes[:, None]
    rows[7] = 0
    return rows


def test_a_large_table_has_a_scale_a_row(
    tmp_path: Path, table: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LEAST_BYTES", table.nbytes)
    graph = _graph(tmp_path, table)
    model, converted, written = _int8(graph)
    assert set(converted) == {"look", "dense"}
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    (restore,) = [
        node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        and node.output[0] in next(n for n in model.graph.node if n.op_type == "Gather").input
    ]
    assert stored[restore.input[0]].dtype == np.int8
    assert stored[restore.input[1]].shape == (ROWS,)
    assert onnx.helper.get_node_attr_value(restore, "axis") == 0
    restored = stored[restore.input[0]] * stored[restore.input[1]][:, None]
    # half a step of 1/127 of the largest value of its row
    assert (np.abs(restored - table) <= np.abs(table).max(axis=1, keepdims=True) / 254 * 1.001).all()
    feed = {"i": np.array([0, 7, 39], np.int32)}
    exact, found = tiny.evaluate(graph, feed)[0], tiny.evaluate(written, feed)[0]
    assert np.isfinite(found).all()
    assert found.shape == exact.shape


def test_a_small_table_stays_in_float(tmp_path: Path, table: Array) -> None:
    model, converted, _ = _int8(_graph(tmp_path, table))
    assert converted == ("dense",)
    assert any(tensor.name == "table" for tensor in model.graph.initializer)


def test_a_weight_in_parts_is_the_weight_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(1).standard_normal((37, 5, 3)).astype(np.float32)
    for axis in range(3):
        whole = quantise_weight(weight, axis)
        with monkeypatch.context() as patched:
            patched.setattr("calibration.qdq._PART", 40)
            parts = quantise_weight(weight, axis)
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one, other)
