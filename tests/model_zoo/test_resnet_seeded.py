"""Seeded ResNet weights behave like a trained network's, and are the same bytes everywhere.

Oracles: fixed digests, and TensorFlow running the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from itertools import islice

import numpy as np
import pytest

from model_zoo.batch_norm_statistics import measure, walk_resnet
from model_zoo.catalog import get_model
from model_zoo.resnet import RESNET50, RESNET101, Convolution, ResNet
from model_zoo.resnet_seeded import measured_channels, seeded_convolution
from model_zoo.resnet_tensorflow import Tensor, classify, convolve, features, normalise
from model_zoo.resnet_weights import weights_of
from model_zoo.spec import FeedSource, Split
from runtime.tensors import Array
from tests.model_zoo.resnet_relative import RELATIVE

REFERENCES = pytest.mark.parametrize(
    "network", [RESNET50, pytest.param(RESNET101, marks=pytest.mark.heavy)], ids=lambda network: network.name
)


@pytest.mark.parametrize(
    ("network", "digest"),
    [
        (RELATIVE, "00066bab4936abd5f077f43c7cd497bc8a1c14aaf0ce0c97c3ab3591b0037d0d"),
        (RESNET50, "e04d12f534f0221ae06ce0848735baf50c76fb555a3b613a5e9dbf4307deff4f"),
        (RESNET101, "5299d7a56805c1a853ce72b3814ec7513122d1f604032e280a4ee1e6de606e9f"),
    ],
    ids=["relative", "resnet50", "resnet101"],
)
def test_weights_are_the_same_bytes_everywhere(network: ResNet, digest: str) -> None:
    """Recorded once. A change of a seeded tensor or of the statistics must show here."""
    total = hashlib.sha256()
    for name, array in sorted(weights_of(network, None).items()):
        total.update(name.encode() + array.astype("<f4").tobytes())
    assert total.hexdigest() == digest


@pytest.mark.parametrize("network", [RELATIVE, RESNET50, RESNET101], ids=lambda network: network.name)
def test_weights_have_every_shape_and_no_value_that_breaks(network: ResNet) -> None:
    weights = weights_of(network, None)
    biases = {"conv1/bias": (network.width,)} if network.stem_bias else {}
    assert {name: array.shape for name, array in weights.items()} == network.shapes() | biases
    assert {array.dtype.name for array in weights.values()} == {"float32"}
    assert all(np.isfinite(array).all() for array in weights.values())
    assert min(array.min() for name, array in weights.items() if name.endswith(("gamma", "variance"))) > 0


def test_kernels_have_the_variance_of_he_initialisation() -> None:
    for part in RESNET50.convolutions:
        kernel = seeded_convolution(part, ends_branch=False)[f"{part.name}/kernel"]
        # the part that the taps share is drawn once per pair of channels: at least 192 numbers
        assert kernel.var() * part.fan_in == pytest.approx(2, rel=0.12)


def test_gammas_end_a_branch_small_and_are_spread_elsewhere() -> None:
    part = RESNET50.blocks[5].branch[-1]
    last = seeded_convolution(part, ends_branch=True)[f"{part.batch_norm}/gamma"]
    other = seeded_convolution(part, ends_branch=False)[f"{part.batch_norm}/gamma"]
    assert last.min() >= 0.1
    assert last.max() <= 0.3
    assert other.mean() == pytest.approx(1, abs=0.05)
    assert other.std() == pytest.approx(0.25, abs=0.02)


@REFERENCES
def test_activations_are_alive_and_bounded_at_every_depth(network: ResNet) -> None:
    images = _images(network, 6)
    weights = weights_of(network, None)
    deviations: dict[str, float] = {}
    dead: dict[str, float] = {}

    def layer(part: Convolution, x: Tensor) -> Tensor:
        normalised = normalise(part, convolve(part, x, weights), weights)
        values = normalised.numpy()
        deviations[part.name] = float(values.std())
        dead[part.name] = float((values.max(axis=(0, 1, 2)) <= 0).mean())
        return normalised

    features(network, images, layer)
    ends = {block.branch[-1].name for block in network.blocks}
    assert all(0.1 < deviations[name] < 0.4 for name in ends)  # their gammas are 0.1 to 0.3
    assert all(0.6 < deviation < 1.6 for name, deviation in deviations.items() if name not in ends)
    assert max(dead.values()) < 0.03


@REFERENCES
def test_logits_are_a_trained_networks_and_tell_photographs_apart(network: ResNet) -> None:
    images = next(islice(_photographs(network).batches(8, Split.EVALUATION), 1))["images"]
    weights = weights_of(network, None)
    logits = _logits(network, images, weights)
    assert 2 < logits.std() < 4.5
    assert abs(logits.mean()) < 0.5
    assert len(set(logits.argmax(axis=1).tolist())) >= 6
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    best = (exponentials / exponentials.sum(axis=1, keepdims=True)).max(axis=1)
    assert 0.05 < np.median(best) < 0.99  # sure of itself at times, not saturated


def test_measured_statistics_are_those_of_the_first_convolution() -> None:
    images = np.random.default_rng(3).uniform(0, 255, (8, 64, 64, 3)).astype(np.float32)
    measured = measure(partial(walk_resnet, RELATIVE), images)
    name, mean, variance = next(measured.of_channels(measured_channels(RELATIVE)))
    kernel = seeded_convolution(RELATIVE.stem, ends_branch=False)
    values = convolve(RELATIVE.stem, images / np.float32(127.5) - np.float32(1), kernel).numpy()
    assert name == "bn_conv1"
    np.testing.assert_allclose(mean, values.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(variance, values.var(axis=(0, 1, 2)), rtol=1e-3)


def _images(network: ResNet, number: int) -> Array:
    """Of the evaluation split; seeded images on a machine that cannot fetch photographs."""
    feeds = get_model(network.name).variants[""].feeds("tensorflow")
    return next(islice(feeds.batches(number, Split.EVALUATION), 1))["images"]


def _photographs(network: ResNet) -> FeedSource:
    feeds = get_model(network.name).variants[""].feeds("tensorflow")
    if feeds.synthetic:
        pytest.skip(f"statistics are of photographs, and the feeds are {feeds.origin}")
    return feeds


def _logits(network: ResNet, images: Array, weights: Mapping[str, Array]) -> Array:
    def layer(part: Convolution, x: Tensor) -> Tensor:
        return normalise(part, convolve(part, x, weights), weights)

    logits: Array = classify(features(network, images, layer), weights).numpy()
    return logits
