"""Weights of keras.applications' DenseNets as those of `densenet_layers`.

Keras wants RGB as (x / 255 - mean) / deviation, where Caffe's network multiplies all colours by INPUT_SCALE:
that is worked into the first kernel. The means differ by up to 0.5 of 255, which is left as it is. In Keras 2
conv1 and its normalisation had scopes of their own (`conv1/conv`), and the classifier was called fc1000: not
verified on a published file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from model_zoo.densenet_layers import INPUT_SCALE
from model_zoo.layers import BatchNorm
from model_zoo.network import Network
from model_zoo.weights import Alias, take
from runtime.tensors import Array

KERAS_EPSILON = 1.001e-5

_DEVIATIONS = (0.229, 0.224, 0.225)
"""Red, green, blue: of ImageNet's pixels of 0..1."""

_MARKER = "conv2_block1_0_bn/gamma"
_FIRST, _LAST = "conv1", "fc6"

_SCOPES: tuple[tuple[str, str], ...] = (
    (r"conv1", "conv1_conv"),
    (r"conv1", "conv1/conv"),
    (r"conv1/bn", "conv1_bn"),
    (r"conv(\d+)_(\d+)/x1/bn", r"conv\1_block\2_0_bn"),
    (r"conv(\d+)_(\d+)/x1", r"conv\1_block\2_1_conv"),
    (r"conv(\d+)_(\d+)/x2/bn", r"conv\1_block\2_1_bn"),
    (r"conv(\d+)_(\d+)/x2", r"conv\1_block\2_2_conv"),
    (r"conv(\d+)_blk/bn", r"pool\1_bn"),
    (r"conv(\d+)_blk", r"pool\1_conv"),
    (r"fc6", "predictions"),
    (r"fc6", "fc1000"),
)
"""From Caffe's layer to Keras'."""

_LAST_NORM = ("bn", "bn/bn")
"""Of the normalisation behind which no convolution stands; the second is where groups are layers."""


def is_of_keras(network: Network, stored: Mapping[str, Array]) -> bool:
    """Whether a file holds a DenseNet of Keras', and `network` is one."""
    named = any(name == _MARKER or name.endswith(f"/{_MARKER}") for name in stored)
    return named and f"{_FIRST}/bn" in network.named and _LAST in network.named


def weights_from(network: Network, stored: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors of `network.tensors()`; raises UsageError as `take` does."""
    shapes = network.tensors()
    wanted = shapes | {f"{_LAST}/kernel": shapes[f"{_LAST}/kernel"][-2:]}  # there it is no convolution
    weights = take(stored, wanted, {name: _aliases(network, name) for name in wanted})
    weights[f"{_LAST}/kernel"] = weights[f"{_LAST}/kernel"].reshape(shapes[f"{_LAST}/kernel"])
    weights[f"{_FIRST}/kernel"] = _first_kernel(network, weights[f"{_FIRST}/kernel"])
    for layer in network.layers:
        if isinstance(layer, BatchNorm):
            weights[f"{layer.name}/moving_variance"] += np.float32(KERAS_EPSILON - layer.epsilon)
    return weights


def _aliases(network: Network, name: str) -> tuple[Alias, ...]:
    scope, _, part = name.rpartition("/")
    return tuple(Alias(f"{other}/{part}") for other in _scopes(network, scope))


def _scopes(network: Network, scope: str) -> tuple[str, ...]:
    if scope.endswith("_blk/bn") and scope.removesuffix("/bn") not in network.named:
        return _LAST_NORM
    return tuple(re.sub(pattern, other, scope) for pattern, other in _SCOPES if re.fullmatch(pattern, scope))


def _first_kernel(network: Network, kernel: Array) -> Array:
    """For the network's own scale and order of colours."""
    scaled = kernel / (255 * INPUT_SCALE * np.array(_DEVIATIONS, np.float32))[:, np.newaxis]
    return np.ascontiguousarray(scaled if network.reversed_channels else scaled[:, :, ::-1])
