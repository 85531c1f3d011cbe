"""Weights of Keras' ResNets (keras.applications, and fchollet's from before them) as those of `resnet`.

Keras wants BGR of 0..255 minus a mean, as Caffe does, and every convolution has a bias. The order of colours,
the scale and the epsilon are worked into the weights; another mean than 127.5 is not (see `resnet_blobs`).
The published weights are those of He et al., and are run here as in their prototxt: Keras' own pool1 starts a
pixel further up and to the left, so that its answers differ a little.

Two layouts. Since 2019 layers are called `conv2_block1_1_conv`; before that they had Caffe's names,
`res2a_branch2a`. Keras 1's names of tensors, `res2a_branch2a_W_1` and `running_std` (a variance), and `probs`
for the classifier are not verified on a published file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from model_zoo.resnet import BATCH_NORM_EPSILON, CLASSIFIER, ResNet
from model_zoo.resnet_blobs import INPUT_SCALE
from model_zoo.weights import Alias, take
from runtime.tensors import Array

KERAS_EPSILON = 1.001e-5
LEGACY_EPSILON = 1e-3
"""What BatchNormalization of Keras has unless told otherwise."""

_MARKERS = ("conv1_conv/kernel",)
_LEGACY_MARKERS = tuple(f"res2a_branch2a{part}" for part in ("/bias", "_b", "_b_1"))
"""A bias that neither Caffe's network has nor TensorFlow's."""

_CLASSIFIERS = ("predictions", "probs")
_KERAS_1: Mapping[str, str] = {
    "kernel": "W",
    "bias": "b",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "running_mean",
    "moving_variance": "running_std",
}


def is_of_keras(stored: Mapping[str, Array]) -> bool:
    """Whether a file holds a ResNet of Keras', of either layout."""
    return _holds(stored, _MARKERS) or _holds(stored, _LEGACY_MARKERS)


def weights_from(network: ResNet, stored: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors of `network.shapes()`; raises UsageError as `take` does."""
    biases = {f"{part.name}/bias": (part.output_channels,) for part in network.convolutions}
    wanted = network.shapes() | biases
    epsilon = KERAS_EPSILON if _holds(stored, _MARKERS) else LEGACY_EPSILON
    weights = take(stored, wanted, dict(_aliases(network, wanted)))
    gap = np.float32(epsilon - BATCH_NORM_EPSILON)
    for part in network.convolutions:
        weights[f"{part.batch_norm}/moving_mean"] -= weights.pop(f"{part.name}/bias")
        weights[f"{part.batch_norm}/moving_variance"] += gap
    stem = f"{network.stem.name}/kernel"
    weights[stem] = np.ascontiguousarray(weights[stem][:, :, ::-1] * INPUT_SCALE)
    return weights


def _holds(stored: Mapping[str, Array], markers: tuple[str, ...]) -> bool:
    return any(f"/{name}".endswith(f"/{marker}") for name in stored for marker in markers)


def _aliases(network: ResNet, wanted: Mapping[str, object]) -> Iterator[tuple[str, tuple[Alias, ...]]]:
    scopes = dict(_scopes(network))
    for name in wanted:
        scope, _, part = name.rpartition("/")
        old = f"{scope}_{_KERAS_1[part]}"
        yield name, (*(Alias(f"{other}/{part}") for other in scopes[scope]), Alias(old), Alias(f"{old}_1"))


def _scopes(network: ResNet) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What Keras calls our layers since 2019."""
    yield network.stem.name, ("conv1_conv",)
    yield network.stem.batch_norm, ("conv1_bn",)
    yield CLASSIFIER, _CLASSIFIERS
    places = ((stage, 1 + index) for stage, depth in enumerate(network.depths, 2) for index in range(depth))
    for block, (stage, index) in zip(network.blocks, places, strict=True):
        for part in block.convolutions:
            number = 0 if part is block.projection else 1 + block.branch.index(part)
            scope = f"conv{stage}_block{index}_{number}"
            yield part.name, (f"{scope}_conv",)
            yield part.batch_norm, (f"{scope}_bn",)
