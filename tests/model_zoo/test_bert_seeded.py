"""Seeded BERT weights behave like a trained network's, and are the same bytes everywhere.

Oracles: fixed digests, TensorFlow running the network over real texts, and MiniLM, which was trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from model_zoo import bert_tensorflow
from model_zoo.bert import feeds_of
from model_zoo.bert_base import BASE
from model_zoo.bert_network import LARGE, MINILM, Bert, BertSize, layer_name
from model_zoo.bert_seeded import outlier_features, seeded_weights
from model_zoo.bert_tensorflow import Tensor, Weights
from model_zoo.bert_weights import weights_of
from model_zoo.spec import Split
from model_zoo.tasks import SPAN
from runtime.errors import UnavailableError
from runtime.tensors import Array, Feed
from tests.model_zoo.bert_relative import RELATIVE

SMALL = Bert(BertSize(12, hidden=192, heads=3, intermediate=768), sequence_length=192)
"""As deep as BERT-Base, and small enough to be run over texts in a second."""

BASE_WIDTH = replace(BASE, size=replace(BASE.size, layers=2, vocabulary=1))

REFERENCES = pytest.mark.parametrize(
    "network",
    [SMALL, pytest.param(BASE, marks=pytest.mark.heavy), pytest.param(LARGE, marks=pytest.mark.heavy)],
    ids=["small", "base", "large"],
)


@pytest.mark.parametrize(
    ("network", "digest"),
    [
        (RELATIVE, "14b917f3b806071a92d3a5f32b771fe6d72299933735c0d937d0855e6db21372"),
        (SMALL, "ec8cd3921de5260da429b3a27dfbcae4789818e80badabcbdb961a7cc19f47a3"),
        pytest.param(
            BASE, "15de3a741a532c44f7617f57eddefe075fef6923bd61f3d70f73d513b671ec0c", marks=pytest.mark.heavy
        ),
        pytest.param(
            LARGE, "565fa772c372ae3e6c4bea5a9ac83cf88c4938e94e26829c2acf577db9cbabb4", marks=pytest.mark.heavy
        ),
    ],
    ids=["relative", "small", "base", "large"],
)
def test_weights_are_the_same_bytes_everywhere(network: Bert, digest: str) -> None:
    """Recorded once. A change of a seeded tensor must show here."""
    total = hashlib.sha256()
    for name, array in seeded_weights(network):
        total.update(name.encode() + array.astype("<f4").tobytes())
    assert total.hexdigest() == digest


@pytest.mark.parametrize("network", [RELATIVE, SMALL, MINILM], ids=["relative", "small", "minilm"])
def test_weights_have_every_shape_once_and_no_value_that_breaks(network: Bert) -> None:
    weights = list(seeded_weights(network))
    assert len(weights) == len(dict(weights))
    shapes = network.shapes() | network.unused_shapes()
    assert {name: array.shape for name, array in weights} == shapes
    assert {array.dtype.name for _, array in weights} == {"float32"}
    assert all(np.isfinite(array).all() for _, array in weights)
    assert min(array.min() for name, array in weights if name.endswith("gamma")) > 0


def test_some_features_stand_out_in_every_layer_as_in_trained_networks() -> None:
    """Kovaleva et al. 2021: a handful of features, the same all along, with large gammas."""
    weights = dict(seeded_weights(BASE_WIDTH))
    chosen = set(outlier_features(BASE_WIDTH.size.hidden).tolist())
    for layer in range(BASE_WIDTH.size.layers):
        gamma = weights[f"{layer_name(layer)}/attention/output/LayerNorm/gamma"]
        assert set(np.argsort(-gamma)[: len(chosen)].tolist()) == chosen
        assert gamma.max() > 2 * np.median(gamma)


@dataclass
class Recording:
    """What a run leaves behind, padding left out.

    entropies: per layer and head, of the shares of attention, over that of equal shares.
    dead:      per layer, the share of inner units whose activation is near zero for every token.
    states:    per layer normalisation [tokens, hidden].
    """

    entropies: list[Array] = field(default_factory=list)
    dead: list[float] = field(default_factory=list)
    states: list[Array] = field(default_factory=list)


def record(
    network: Bert, weights: Mapping[str, Array], feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> tuple[Recording, dict[str, Array]]:
    """Run the network eagerly, so that what passes can be looked at."""
    import tensorflow as tf

    recording, real = Recording(), feed["input_mask"] > 0
    tokens = real.sum(axis=1)
    normalise, softmax, gelu = bert_tensorflow.normalise, tf.nn.softmax, tf.nn.gelu

    def recorded_normalise(x: Tensor, scope: str, given: Weights) -> Tensor:
        states = normalise(x, scope, given)
        recording.states.append(states.numpy()[real])
        return states

    def recorded_softmax(scores: Tensor, axis: int) -> Tensor:
        shares = softmax(scores, axis=axis)
        array = shares.numpy().astype(np.float64)
        entropy = -(array * np.log(array + 1e-30)).sum(axis=-1).swapaxes(1, 2)
        recording.entropies.append((entropy / np.log(tokens)[:, None, None])[real].mean(axis=0))
        return shares

    def recorded_gelu(x: Tensor, approximate: bool) -> Tensor:
        activated = gelu(x, approximate=approximate)
        recording.dead.append(float((np.abs(activated.numpy()[real]).max(axis=0) < 0.01).mean()))
        return activated

    with monkeypatch.context() as patch:
        patch.setattr(bert_tensorflow, "normalise", recorded_normalise)
        patch.setattr(tf.nn, "softmax", recorded_softmax)
        patch.setattr(tf.nn, "gelu", recorded_gelu)
        states = bert_tensorflow.embed(network, feed["input_ids"], feed["segment_ids"], weights)
        states = bert_tensorflow.encode(network, states, feed["input_mask"], weights)
    return recording, logits(states, weights)


def logits(states: Tensor, weights: Mapping[str, Array]) -> dict[str, Array]:
    if "cls/squad/output_bias" not in weights:
        return {}
    start, end = bert_tensorflow.span_logits(states, None, weights)
    return {"start_logits": start.numpy(), "end_logits": end.numpy()}


def texts_of(network: Bert, samples: int) -> Feed:
    feeds = feeds_of(network, "tensorflow")
    if feeds.synthetic:
        pytest.skip(f"the weights are for texts, and the feeds are {feeds.origin}")
    return next(feeds.batches(samples, Split.EVALUATION))


@REFERENCES
def test_a_seeded_network_is_as_alive_as_a_trained_one(
    network: Bert, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, _ = record(network, dict(seeded_weights(network)), texts_of(network, 4), monkeypatch)
    assert len(recording.states) == 2 * network.size.layers + 1
    assert_alive(recording)
    entropies = np.array(recording.entropies)
    assert entropies.shape == (network.size.layers, network.size.heads)
    assert entropies.min() > 0.1
    assert entropies.max() < 0.98
    assert all(
        0.6 < states.std() < 1.2 for states in recording.states
    )  # flat from the first layer to the last


def test_so_is_minilm_which_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are not ours alone."""
    try:
        weights = dict(weights_of(MINILM, None))
    except UnavailableError as error:
        pytest.skip(str(error))
    recording, _ = record(MINILM, weights, texts_of(MINILM, 8), monkeypatch)
    assert_alive(recording)


def test_untrained_weights_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """google-research/bert's initial values: deviation 0.02, so that every token attends to all alike."""
    rng = np.random.default_rng(0)
    weights = {
        name: np.full(shape, name.endswith("gamma"), np.float32)
        if name.endswith(("gamma", "beta", "bias"))
        else rng.normal(0, 0.02, shape).astype(np.float32)
        for name, shape in SMALL.shapes().items()
    }
    recording, _ = record(SMALL, weights, texts_of(SMALL, 4), monkeypatch)
    assert np.mean(recording.entropies) > 0.98


@REFERENCES
def test_spans_are_clear_and_differ_from_text_to_text(network: Bert, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = texts_of(network, 8)
    _, outputs = record(network, dict(seeded_weights(network)), feed, monkeypatch)
    real, context = feed["input_mask"] > 0, feed["segment_ids"] > 0
    for array in outputs.values():
        best = np.exp(array - array.max(axis=1, keepdims=True))
        best = (best / best.sum(axis=1, keepdims=True)).max(axis=1)
        assert 1.5 < array[real].std() < 6
        assert 10 / real.sum(axis=1).mean() < np.median(best) < 0.99  # ten times an even share, not saturated
    spans = SPAN.answers(outputs)
    assert len({tuple(span) for span in spans.tolist()}) >= 7
    inside = [context[sample, span].all() for sample, span in enumerate(spans)]
    assert np.mean(inside) > 0.7  # an answer to a question rarely lies in the question, or in the padding


def assert_alive(recording: Recording) -> None:
    """What trained and seeded networks have in common, and a network without training lacks."""
    entropies = np.array(recording.entropies)
    assert 0.3 < entropies.mean() < 0.9  # neither one-hot nor uniform
    assert entropies.std() > 0.05  # heads differ
    assert all(0.3 < states.std() < 1.5 for states in recording.states)
    assert max(recording.dead) < 0.02
    assert max(map(cosine_between_tokens, recording.states)) < 0.8  # depth does not make all tokens alike


def cosine_between_tokens(states: Array) -> float:
    """Mean cosine between two different tokens' states."""
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    count = len(unit)
    return float(((unit.sum(axis=0) ** 2).sum() - count) / (count * (count - 1)))
