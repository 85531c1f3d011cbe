"""LSTM and RNN against Caffe's step by step loop; ONNX's own LSTM where `cont` never clears anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError
from runtime.tensors import Array
from tests.exporters.caffe.networks import caffemodel, prototxt, run_onnx, values
from tests.exporters.caffe.runtimes import build_with_tensorrt, run_openvino

STREAMS, WIDTH, HIDDEN = 2, 6, 4
BOTTOMS = {"x": (5, STREAMS, 2, 3), "cont": (5, STREAMS), "same": (STREAMS, 3)}
STATES = {"h0": (1, STREAMS, HIDDEN), "c0": (1, STREAMS, HIDDEN)}


def _network(type_: str, bottoms: list[str], tops: str, blobs: list[Array], exposed: bool) -> CaffeSource:
    shapes = BOTTOMS | STATES
    heads = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in shapes[name])} }}\n'
        for name in bottoms
    )
    read = " ".join(f'bottom: "{name}"' for name in bottoms)
    made = " ".join(f'top: "{name}"' for name in tops.split())
    parameters = f"num_output: {HIDDEN} expose_hidden: {str(exposed).lower()}"
    text = f'{heads} layer {{ name: "r" type: "{type_}" {read} {made} recurrent_param {{ {parameters} }} }}'
    return CaffeSource(text, caffemodel({"r": blobs}))


def _weights(gates: int, static: bool, output: bool) -> list[Array]:
    shapes = [(gates, WIDTH), (gates,), *([(gates, 3)] if static else []), (gates, HIDDEN)]
    shapes += [(HIDDEN, HIDDEN), (HIDDEN,)] if output else []
    return [values(*shape, seed=seed) for seed, shape in enumerate(shapes)]


def _feed(names: list[str]) -> dict[str, Array]:
    shapes = BOTTOMS | STATES
    feed = {name: values(*shapes[name], seed=seed) for seed, name in enumerate(names)}
    feed["cont"] = np.array([[0, 0], [1, 1], [1, 0], [0, 1], [1, 1]], np.float32)
    return feed


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _lstm(blobs: list[Array], feed: dict[str, Array]) -> tuple[Array, Array, Array]:
    zero = np.zeros((STREAMS, HIDDEN), np.float32)
    h, c = (feed[name][0] if name in feed else zero for name in ("h0", "c0"))
    same = feed["same"] @ blobs[2].T if "same" in feed else 0
    out = []
    for x, cont in zip(feed["x"].reshape(5, STREAMS, WIDTH), feed["cont"][:, :, None], strict=True):
        gates = x @ blobs[0].T + blobs[1] + same + (h * cont) @ blobs[-1].T
        i, f, o, g = np.split(gates, 4, axis=1)
        c = cont * _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out), h, c


@pytest.mark.parametrize("names", [["x", "cont"], ["x", "cont", "same"]])
def test_an_lstm_forgets_where_a_sequence_begins(names: list[str], tmp_path: Path) -> None:
    blobs, feed = _weights(4 * HIDDEN, "same" in names, output=False), _feed(names)
    model = _network("LSTM", names, "h", blobs, exposed=False).to_onnx()
    expected, _, _ = _lstm(blobs, feed)
    np.testing.assert_allclose(run_onnx(model, feed)["h"], expected, atol=1e-6)
    np.testing.assert_allclose(run_openvino(model, feed, tmp_path)["h"], expected, atol=2e-6)


def test_states_can_be_given_and_are_given_back() -> None:
    names = ["x", "cont", "same", "h0", "c0"]
    blobs, feed = _weights(4 * HIDDEN, static=True, output=False), _feed(names)
    feed["cont"][:] = 1
    made = run_onnx(_network("LSTM", names, "h hT cT", blobs, exposed=True).to_onnx(), feed)
    expected, h, c = _lstm(blobs, feed)
    np.testing.assert_allclose(made["h"], expected, atol=1e-6)
    np.testing.assert_allclose(made["hT"][0], h, atol=1e-6)
    np.testing.assert_allclose(made["cT"][0], c, atol=1e-6)


@pytest.mark.parametrize("names", [["x", "cont"], ["x", "cont", "same"]])
def test_an_rnn_forgets_where_a_sequence_begins(names: list[str]) -> None:
    blobs, feed = _weights(HIDDEN, "same" in names, output=True), _feed(names)
    made = run_onnx(_network("RNN", names, "o", blobs, exposed=False).to_onnx(), feed)["o"]
    *_, across, out, bias = blobs
    same = feed["same"] @ blobs[2].T if "same" in feed else 0
    h, expected = np.zeros((STREAMS, HIDDEN), np.float32), []
    for x, cont in zip(feed["x"].reshape(5, STREAMS, WIDTH), feed["cont"][:, :, None], strict=True):
        h = np.tanh(x @ blobs[0].T + blobs[1] + same + (h * cont) @ across.T)
        expected.append(np.tanh(h @ out.T + bias))
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_the_passes_keep_what_a_step_does() -> None:
    from exporters.passes import optimise

    names = ["x", "cont"]
    blobs, feed = _weights(4 * HIDDEN, static=False, output=False), _feed(names)
    model = optimise(_network("LSTM", names, "h", blobs, exposed=False).to_onnx())
    np.testing.assert_allclose(run_onnx(model, feed)["h"], _lstm(blobs, feed)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x", "x"], r"wants data \[time, streams, ...\] and cont \[time, streams\]"),
        (["x", "cont", "same", "same"], "has 4 bottoms; it reads data and cont"),
    ],
)
def test_bottoms_of_another_kind_are_refused(names: list[str], message: str) -> None:
    blobs = _weights(4 * HIDDEN, static=False, output=False)
    unique = list(dict.fromkeys(names))
    source = _network("LSTM", unique, "h", blobs, exposed=False)
    read = " ".join(f'bottom: "{name}"' for name in names)
    text = source.prototxt.replace(" ".join(f'bottom: "{name}"' for name in unique), read)
    with pytest.raises(ExportError, match=rf"layer 'r' \(LSTM\): .*{message}"):
        CaffeSource(text, source.caffemodel).to_onnx()


def test_an_lstm_without_size_is_refused() -> None:
    blobs = _weights(4 * HIDDEN, static=False, output=False)
    source = _network("LSTM", ["x", "cont"], "h", blobs, exposed=False)
    with pytest.raises(ExportError, match="recurrent_param wants num_output"):
        CaffeSource(source.prototxt.replace("num_output: 4", ""), b"").to_onnx()


def _sequences(blobs: list[Array], x: Array) -> Array:
    """An LSTM over whole sequences [time, streams, size], by the loop above."""
    h = c = np.zeros((x.shape[1], HIDDEN), np.float32)
    out = []
    for step in x:
        i, f, o, g = np.split(step @ blobs[0].T + blobs[1] + h @ blobs[2].T, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out)


CRNN = """
layer { name: "row" type: "Reshape" bottom: "data" top: "row"
  reshape_param { shape { dim: 1 dim: 6 dim: 5 } } }
layer { name: "steps" type: "Permute" bottom: "row" top: "steps"
  permute_param { order: 2 order: 0 order: 1 } }
layer { name: "cont" type: "ContinuationIndicator" top: "cont"
  continuation_indicator_param { time_step: 5 batch_size: 1 } }
layer { name: "r" type: "LSTM" bottom: "steps" bottom: "cont" top: "h" recurrent_param { num_output: 4 } }
layer { name: "fc" type: "InnerProduct" bottom: "h" top: "fc" inner_product_param { num_output: 3 axis: 2 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" softmax_param { axis: 2 } }
"""
"""The tail of CRNN: the columns of a feature map are the steps, and every image is one stream."""


def test_the_tail_of_crnn_reads_any_number_of_lines(tmp_path: Path) -> None:
    blobs = _weights(4 * HIDDEN, static=False, output=False)
    learned = {"r": blobs, "fc": [values(3, HIDDEN), values(3)]}
    source = CaffeSource(prototxt(CRNN, 1, 6, 1, 5), caffemodel(learned))
    assert [str(spec) for spec in source.outputs] == ["prob: float32[5,batch,3]"]
    model, data = source.to_onnx(), values(3, 6, 1, 5)
    logits = (
        _sequences(blobs, data.reshape(3, 6, 5).transpose(2, 0, 1)) @ learned["fc"][0].T + learned["fc"][1]
    )
    expected = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(run_onnx(model, {"data": data})["prob"], expected, atol=1e-6)
    np.testing.assert_allclose(run_openvino(model, {"data": data}, tmp_path)["prob"], expected, atol=2e-6)
    assert [node.op_type for node in model.graph if node.op_type in ("LSTM", "Scan")] == ["LSTM"]
    build_with_tensorrt(model, tmp_path, batch=3)


def test_two_lstms_of_ctpn_read_both_ways(tmp_path: Path) -> None:
    blobs = [_weights(4 * HIDDEN, static=False, output=False) for _ in range(2)]
    text = (
        _lstm_layer("there", "data", "there")
        + 'layer { name: "r1" type: "Reverse" bottom: "data" top: "turned" }'
        + _lstm_layer("back", "turned", "turned back")
        + 'layer { name: "r2" type: "Reverse" bottom: "turned back" top: "back" }'
        + 'layer { name: "both" type: "Concat" bottom: "there" bottom: "back" top: "both"'
        + " concat_param { axis: 2 } }"
    )
    # Its blobs are the weight of the data, that of the state, and the bias.
    learned = {name: [b[0], b[2], b[1]] for name, b in zip(("there", "back"), blobs, strict=True)}
    model = CaffeSource(prototxt(text, 7, STREAMS, WIDTH), caffemodel(learned)).to_onnx()
    x = values(7, STREAMS, WIDTH, seed=5)
    expected = np.concatenate([_sequences(blobs[0], x), _sequences(blobs[1], x[::-1])[::-1]], axis=2)
    np.testing.assert_allclose(run_onnx(model, {"data": x})["both"], expected, atol=1e-6)
    np.testing.assert_allclose(run_openvino(model, {"data": x}, tmp_path)["both"], expected, atol=2e-6)
    build_with_tensorrt(model, tmp_path, batch=7)


def _lstm_layer(name: str, bottom: str, top: str) -> str:
    parameters = f"lstm_param {{ num_output: {HIDDEN} clipping_threshold: 1 }}"
    return f'layer {{ name: "{name}" type: "Lstm" bottom: "{bottom}" top: "{top}" {parameters} }}'
