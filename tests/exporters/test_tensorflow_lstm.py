"""TensorFlow's BlockLSTM to ONNX's LSTM, judged by TensorFlow's own kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.parity import open_graph
from exporters.passes import optimise
from exporters.tensorflow import TensorFlowSource
from exporters.writing import write_file
from runtime.errors import ExportError
from runtime.tensors import TensorSpec
from tests.exporters.graphs import operators

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

STEPS, INPUTS, UNITS = 5, 3, 4


def source(start: float = 0.0, output: str = "h", length: int = STEPS, **options: Any) -> TensorFlowSource:
    """One layer over x [time, batch, inputs] whose every number is another."""
    rng = np.random.default_rng(0)
    kernel = tf.Variable(rng.normal(0, 0.5, (INPUTS + UNITS, 4 * UNITS)).astype(np.float32), name="kernel")
    bias = tf.Variable(rng.normal(0, 0.5, 4 * UNITS).astype(np.float32), name="bias")
    peephole = tf.constant(rng.normal(0, 0.5, UNITS).astype(np.float32))

    def layer(x: Any) -> tuple[Any]:
        cell, hidden = (tf.fill((tf.shape(x)[1], UNITS), value) for value in (start, 2 * start))
        made = tf.raw_ops.BlockLSTM(
            seq_len_max=tf.constant(length, tf.int64),
            x=tf.abs(x),
            cs_prev=cell,
            h_prev=hidden,
            w=kernel,
            wci=peephole,
            wcf=peephole,
            wco=peephole,
            b=bias,
            **{"forget_bias": 0.7, "cell_clip": -1.0, **options},
        )
        return (getattr(made, output) + 0.5,)

    given = TensorSpec("x", "float32", (STEPS, "batch", INPUTS))
    return TensorFlowSource(layer, (given,), ("y",), (kernel, bias))


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_a_layer_becomes_one_lstm_from_any_first_state(start: float, tmp_path: Path) -> None:
    layer = source(start)
    model = optimise(layer.to_onnx())
    write_file(model, tmp_path / "model.onnx")
    feed = {"x": np.random.default_rng(1).normal(size=(STEPS, 2, INPUTS)).astype(np.float32)}
    got = open_graph(tmp_path / "model.onnx")(feed)
    np.testing.assert_allclose(got["y"], layer.run(feed)["y"], atol=1e-6)
    assert operators(model)["LSTM"] == 1
    (lstm,) = (node for node in model.graph if node.op_type == "LSTM")
    assert len([value for value in lstm.inputs if value is not None]) == (6 if start else 4)


@pytest.mark.parametrize(
    "refused",
    [{"use_peephole": True}, {"cell_clip": 3.0}, {"output": "cs"}, {"length": STEPS - 1}],
    ids=str,
)
def test_what_onnx_cannot_say_is_refused_by_name(refused: dict[str, Any]) -> None:
    with pytest.raises(ExportError, match=r"TensorFlow operator BlockLSTM .* cannot be said in ONNX"):
        source(**refused).to_onnx()
