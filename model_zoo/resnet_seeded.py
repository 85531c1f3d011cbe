"""Seeded weights for a ResNet that behave like a trained network's (see `seeded_layers`)."""

from __future__ import annotations

import numpy as np

from model_zoo.image_statistics import Channels, Statistics
from model_zoo.resnet import CLASSIFIER, Convolution, ResNet
from model_zoo.seeded import seeded_normal
from model_zoo.seeded_layers import (
    SEED,
    Weights,
    seeded_beta,
    seeded_branch_gamma,
    seeded_classifier,
    seeded_gamma,
    seeded_kernel,
)

_STEM_BIAS_DEVIATION = 0.1


def seeded_weights(network: ResNet, statistics: Statistics) -> Weights:
    """All tensors of `network.shapes()`, and `conv1/bias` where the Caffe network has one."""
    weights: Weights = {}
    ends = branch_ends(network)
    for part in network.convolutions:
        weights |= seeded_convolution(part, ends_branch=part in ends)
    for name, mean, variance in statistics.of_channels(measured_channels(network)):
        weights |= {f"{name}/moving_mean": mean, f"{name}/moving_variance": variance}
    return weights | seeded_classifier(CLASSIFIER, network.classes, statistics)


def measured_channels(network: ResNet) -> tuple[Channels, ...]:
    """The batch normalisations, whose statistics photographs give."""
    return tuple((part.batch_norm, part.output_channels) for part in network.convolutions)


def branch_ends(network: ResNet) -> frozenset[Convolution]:
    """The convolutions whose output is added to a shortcut."""
    return frozenset(block.branch[-1] for block in network.blocks)


def seeded_convolution(part: Convolution, *, ends_branch: bool) -> Weights:
    """Kernel, gamma and beta of a convolution: what does not depend on data."""
    channels = part.output_channels
    kernel, gamma, beta = f"{part.name}/kernel", f"{part.batch_norm}/gamma", f"{part.batch_norm}/beta"
    weights = {
        kernel: seeded_kernel(kernel, part.kernel, part.input_channels, channels),
        gamma: seeded_branch_gamma(gamma, channels) if ends_branch else seeded_gamma(gamma, channels),
        beta: seeded_beta(beta, channels),
    }
    if part.bias:
        bias = f"{part.name}/bias"
        weights[bias] = seeded_normal(bias, (channels,), SEED) * np.float32(_STEM_BIAS_DEVIATION)
    return weights
