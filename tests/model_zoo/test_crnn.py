"""CRNN: counts against MODELS.md 13, LSTMs against a plain loop, and one operator each in ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporters.export import export
from exporters.source import Source
from model_zoo import crnn
from model_zoo.batch_norm_statistics import measure, walk_words
from model_zoo.crnn_layers import FORGET_BIAS, Sizes, crnn_network
from model_zoo.crnn_seeded import all_weights, last_lstm, weights_of
from model_zoo.layers import FeatureMap
from model_zoo.spec import Split
from model_zoo.text_recognition import BEST_PATH
from runtime.errors import UsageError
from runtime.graphs import inspect
from runtime.tensors import Array, TensorSpec

pytest.importorskip("tensorflow")

RELATIVE = crnn_network(Sizes("little-crnn", narrower=16, characters=11))
BATCH_NORM_CHANNELS = 64 + 128 + 2 * 256 + 3 * 512


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Array]:
    """With statistics of noise: neutral ones let activations grow from layer to layer."""
    return all_weights(RELATIVE, measure(partial(walk_words, RELATIVE), images(24)))


def images(number: int = 3) -> Array:
    shape = (number, *RELATIVE.input_size, 3)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def test_the_network_counts_what_models_md_counts() -> None:
    """It counts four values for each normalised channel; two of them are learned."""
    assert crnn.NETWORK.parameters == 8_725_632 - 2 * BATCH_NORM_CHANNELS == 8_721_152
    assert crnn.NETWORK.macs == 700_684_800
    assert sum(int(np.prod(shape)) for shape in crnn.NETWORK.tensors().values()) == 8_725_632


@pytest.mark.parametrize(
    ("layer", "channels", "height", "width"),
    [
        ("pool1", 64, 16, 50),
        ("pool2", 128, 8, 25),
        ("pool4", 256, 4, 25),
        ("pool6", 512, 2, 25),
        ("conv7", 512, 1, 25),
        ("lstm2", 512, 1, 25),
        ("logits", 37, 1, 25),
    ],
)
def test_its_maps_are_those_of_models_md(layer: str, channels: int, height: int, width: int) -> None:
    assert crnn.NETWORK.maps[layer] == FeatureMap(channels, height, width)


def test_a_relative_exports_with_one_lstm_for_each_layer(
    weights: Mapping[str, Array], tmp_path: Path
) -> None:
    source = _source(weights)
    report = export(source, tmp_path / "model.onnx", [{"images": images()}])
    facts = inspect(tmp_path / "model.onnx")
    assert source.parameters == report.parameters == RELATIVE.parameters
    assert facts.macs == RELATIVE.macs
    assert source.inputs == (TensorSpec("images", "float32", ("batch", 32, 100, 3)),)
    assert source.outputs == (TensorSpec("logits", "float32", ("batch", 25, 11)),)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    lstms = [node for node in nodes if node.op_type == "LSTM"]
    said = [{part.name: onnx.helper.get_attribute_value(part) for part in node.attribute} for node in lstms]
    assert said == [{"direction": b"bidirectional", "hidden_size": 16}] * 2
    assert {node.op_type for node in nodes}.isdisjoint({"Gather", "If", "Loop", "Scan"})


def test_a_bidirectional_layer_is_the_loop_of_its_cells(weights: Mapping[str, Array]) -> None:
    from model_zoo.layers_tensorflow import evaluate

    read, said = (np.asarray(evaluate(RELATIVE, images(), weights, name)) for name in ("columns", "lstm1"))
    ahead = _lstm(read, weights, "lstm1/forward")
    back = _lstm(read[:, ::-1], weights, "lstm1/backward")[:, ::-1]
    np.testing.assert_allclose(said, np.concatenate([ahead, back], axis=2), atol=1e-5)


def test_the_graph_divides_by_255_though_the_feeds_are_scaled(weights: Mapping[str, Array]) -> None:
    from model_zoo.layers_tensorflow import evaluate

    scaled = np.asarray(evaluate(RELATIVE, images(), weights, "scale"))
    np.testing.assert_allclose(scaled, images() / 255, rtol=1e-6)


def test_a_unit_of_the_last_lstm_stands_in_for_the_bias_that_characters_lack(
    weights: Mapping[str, Array],
) -> None:
    from model_zoo.layers_tensorflow import evaluate

    steady = np.asarray(evaluate(RELATIVE, images(), weights, last_lstm(RELATIVE).name))[..., 0]
    np.testing.assert_allclose(steady, np.tanh(1), atol=1e-4)


def test_weights_come_back_out_of_a_file(weights: Mapping[str, Array], tmp_path: Path) -> None:
    _save(tmp_path / "weights.npz", weights)
    read = weights_of(RELATIVE, tmp_path / "weights.npz")
    assert set(read) == set(RELATIVE.tensors())
    for name, array in weights.items():
        np.testing.assert_array_equal(read[name], array)


def test_a_file_without_a_direction_is_refused(weights: Mapping[str, Array], tmp_path: Path) -> None:
    forward = {name: array for name, array in weights.items() if "lstm2/backward" not in name}
    _save(tmp_path / "weights.npz", forward)
    with pytest.raises(UsageError, match=r"lack 2 of the network's tensors: lstm2/backward/kernel, lstm2/"):
        weights_of(RELATIVE, tmp_path / "weights.npz")


def test_another_framework_is_refused_by_the_feeds() -> None:
    with pytest.raises(UsageError, match="unknown framework of crnn 'caffe'"):
        crnn.SPEC.variants[""].feeds("caffe")


@pytest.mark.heavy
def test_the_seeded_network_says_another_word_for_every_image() -> None:
    """Were it to answer all alike, agreement between precisions would mean nothing."""
    variant = crnn.SPEC.variants[""]
    feed = next(variant.feeds("tensorflow").batches(32, Split.EVALUATION))
    answers = BEST_PATH.answers(variant.build["tensorflow"](None).run(feed))
    lengths = (answers >= 0).sum(axis=1)
    assert len({row.tobytes() for row in answers}) > 24
    assert 2 < lengths.mean() < 8


def _save(path: Path, weights: Mapping[str, Array]) -> None:
    arrays: dict[str, Any] = dict(weights)
    np.savez(path, **arrays)


def _source(weights: Mapping[str, Array]) -> Source:
    from model_zoo.layers_tensorflow import tensorflow_source

    return tensorflow_source(RELATIVE, weights)


def _lstm(x: Array, weights: Mapping[str, Array], name: str) -> Array:
    """[batch, time, units]: TensorFlow's BasicLSTMCell over x [batch, time, inputs], column by column."""
    kernel, bias = (weights[f"{name}/{part}"].astype(np.float64) for part in ("kernel", "bias"))
    hidden = cell = np.zeros((len(x), len(bias) // 4))
    said = []
    for step in range(x.shape[1]):
        gates = np.concatenate([x[:, step], hidden], axis=1) @ kernel + bias
        enter, candidate, forget, leave = np.split(gates, 4, axis=1)
        cell = _sigmoid(forget + FORGET_BIAS) * cell + _sigmoid(enter) * np.tanh(candidate)
        hidden = _sigmoid(leave) * np.tanh(cell)
        said.append(hidden)
    return np.stack(said, axis=1)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
