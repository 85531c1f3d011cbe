"""Seeded weights of networks made of layers: as a trained network's, and the same bytes everywhere.

Oracles: fixed digests, and TensorFlow running the network on photographs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pytest

from model_zoo import densenet_layers, googlenet_layers
from model_zoo.batch_norm_statistics import SUBJECTS, photographs
from model_zoo.layers import Layer
from model_zoo.layers_seeded import is_measured
from model_zoo.layers_tensorflow import Tensor, evaluate
from model_zoo.layers_weights import weights_of
from model_zoo.network import Network
from runtime.tensors import Array

NETWORKS = [
    googlenet_layers.caffe_network(googlenet_layers.Sizes()),
    googlenet_layers.tensorflow_network(googlenet_layers.Sizes()),
    densenet_layers.standard_network(densenet_layers.Sizes()),
    densenet_layers.aimatrix_network(densenet_layers.AIMATRIX),
]
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.statistics)

DIGESTS = {
    "googlenet-caffe": "804152ae5f76bca575384a06fec798f39cf1bcae0592f8bf3261a92646e0aef9",
    "googlenet-tensorflow": "e89514646369ca0ac8fd89daf04159dc9db3a56c4edc9094cfe09a6716e2ef6e",
    "densenet121": "78a95e17d4c8e620244e21a881c95f5ffaa675c13ed6f5cbe5cfc821cb201033",
    "densenet121-aimatrix": "eaf571c3d764bcdb6ba81f4a88d67d6721cdc089e3dff16b91506121b82e8710",
}

_BEFORE_LOCAL_RESPONSE = ("conv1/7x7_s2", "conv2/3x3")


@dataclass(frozen=True)
class Spread:
    """What a layer gives over photographs: its deviation, and the share of its channels that never fire."""

    deviation: float
    dead: float


@every_network
def test_weights_are_the_same_bytes_everywhere(network: Network) -> None:
    """Recorded once. A change of a seeded tensor or of the statistics must show here."""
    total = hashlib.sha256()
    for name, array in sorted(weights_of(network, None).items()):
        total.update(name.encode() + array.astype("<f4").tobytes())
    assert total.hexdigest() == DIGESTS[network.statistics]


@every_network
def test_weights_have_every_shape_and_no_value_that_breaks(network: Network) -> None:
    weights = weights_of(network, None)
    assert {name: array.shape for name, array in weights.items()} == network.tensors()
    assert {array.dtype.name for array in weights.values()} == {"float32"}
    assert all(np.isfinite(array).all() for array in weights.values())
    positive = [array.min() for name, array in weights.items() if name.endswith(("gamma", "variance"))]
    assert min(positive, default=1) > 0


@every_network
def test_activations_are_alive_and_bounded_at_every_depth(network: Network) -> None:
    spreads = _spreads(network, _images(network, 6))
    amplified = network.statistics == "googlenet-caffe"
    for name, spread in spreads.items():
        unit = 64 if amplified and name in _BEFORE_LOCAL_RESPONSE else 1
        assert 0.4 < spread.deviation / unit < 1.6, name
        assert spread.dead < 0.12, name
    assert np.mean([spread.dead for spread in spreads.values()]) < 0.02


@every_network
def test_logits_are_a_trained_networks_and_tell_photographs_apart(network: Network) -> None:
    images = _images(network, 16)
    logits = np.asarray(evaluate(network, images, weights_of(network, None), network.classifier))
    logits = logits.reshape(16, -1)
    assert 2 < logits.std() < 4.5
    assert abs(logits.mean()) < 0.5
    assert len(set(logits.argmax(axis=1).tolist())) >= 8
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    best = (exponentials / exponentials.sum(axis=1, keepdims=True)).max(axis=1)
    assert 0.05 < np.median(best) < 0.99  # sure of itself at times, not saturated


def _images(network: Network, number: int) -> Array:
    """Of the evaluation split, channels last."""
    feeds = SUBJECTS[network.statistics].feeds
    if feeds.synthetic:
        pytest.skip(f"statistics are of photographs, and the feeds are {feeds.origin}")
    return photographs(feeds, number)[number:]


def _spreads(network: Network, images: Array) -> dict[str, Spread]:
    """Of the outputs of all layers that are fitted to photographs."""
    fitted = {layer.name for layer in network.layers if is_measured(network, layer)}
    spreads: dict[str, Spread] = {}

    def note(layer: Layer, x: Tensor) -> None:
        (bottom,) = layer.bottoms[:1]
        if bottom in fitted:
            values = np.asarray(x)
            dead = float((values.max(axis=(0, 1, 2)) <= 0).mean())
            spreads[bottom] = Spread(float(values.std()), dead)

    evaluate(network, images, weights_of(network, None), network.classifier, note)
    assert spreads.keys() == fitted
    return spreads
