"""Seeded weights for a ResNet that behave like a trained network's.

Kernels are drawn with the variance of He et al. 2015 ("Delving deep into rectifiers"), batch-norm
statistics are those that photographs give in this very network, and the classifier looks at the
directions in which photographs differ most. So no activation dies or explodes at any depth, and the class
changes from photograph to photograph: a random network without the last two answers every photograph
alike, and agreement between two precisions of it would mean nothing.

Made of IEEE operations on single elements only, in a fixed order: the same bytes on every machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model_zoo.resnet import CLASSIFIER, Convolution, ResNet
from model_zoo.resnet_statistics import DIRECTIONS, Statistics
from model_zoo.seeded import seeded_normal, seeded_uniform

Weights = dict[str, NDArray[np.float32]]

SEED = 0
"""The one the stored statistics belong to."""

LOGITS_DEVIATION = 3.0
"""Of all classes over all photographs; a trained ResNet's are 2.5 to 4."""

# Power of a kernel's response to a flat image over that to its own noise. Trained kernels are smooth; without
# this the differences between photographs average out before the last stage.
_SMOOTHNESS = 4.5

# A residual branch adds little to the trunk in trained networks, most of all in deep ones.
_BRANCH_GAMMA = (0.1, 0.3)
_GAMMA_DEVIATION = 0.25
_BETA_DEVIATION = 0.1
_STEM_BIAS_DEVIATION = 0.1

# Cubing the classifier's values makes one class stand out where plain normal ones leave the best few close
# together: the median photograph gets a probability of 0.7 and not 0.2. The sixth moment of the sum of four
# uniforms is k6 + 15 k4 + 15, with the cumulants k6 = 48/7 / 4**2 and k4 = -6/5 / 4.
_CUBED_DEVIATION = math.sqrt(3 / 7 - 4.5 + 15)


def seeded_weights(network: ResNet, statistics: Statistics) -> Weights:
    """All tensors of `network.shapes()`, and `conv1/bias` where the Caffe network has one."""
    weights: Weights = {}
    ends = branch_ends(network)
    for part in network.convolutions:
        weights |= seeded_convolution(part, ends_branch=part in ends)
    for name, mean, variance in statistics.of_channels(network):
        weights |= {f"{name}/moving_mean": mean, f"{name}/moving_variance": variance}
    return weights | seeded_classifier(network.classes, statistics)


def branch_ends(network: ResNet) -> frozenset[Convolution]:
    """The convolutions whose output is added to a shortcut."""
    return frozenset(block.branch[-1] for block in network.blocks)


def seeded_convolution(part: Convolution, *, ends_branch: bool) -> Weights:
    """Kernel, gamma and beta of a convolution: what does not depend on data."""
    channels = (part.output_channels,)
    gamma, beta = f"{part.batch_norm}/gamma", f"{part.batch_norm}/beta"
    weights = {
        f"{part.name}/kernel": _kernel(part),
        gamma: _branch_gamma(gamma, channels) if ends_branch else _gamma(gamma, channels),
        beta: seeded_normal(beta, channels, SEED) * np.float32(_BETA_DEVIATION),
    }
    if part.bias:
        bias = f"{part.name}/bias"
        weights[bias] = seeded_normal(bias, channels, SEED) * np.float32(_STEM_BIAS_DEVIATION)
    return weights


def seeded_classifier(classes: int, statistics: Statistics) -> Weights:
    """A random map from the coordinates that `statistics` makes of the pooled features to logits."""
    normal = seeded_normal(f"{CLASSIFIER}/kernel", (DIRECTIONS, classes), SEED)
    deviation = LOGITS_DEVIATION / (math.sqrt(DIRECTIONS) * _CUBED_DEVIATION)
    rows = normal * normal * normal * np.float32(deviation)
    kernel = np.zeros((len(statistics.directions), classes), np.float32)
    bias = np.zeros(classes, np.float32)
    for index in range(DIRECTIONS):  # no matrix product: its order of summation differs between machines
        direction = statistics.directions[:, index].astype(np.float32) * statistics.scale[index]
        kernel += direction[:, None] * rows[index]
        bias -= statistics.origin[index] * rows[index]
    return {f"{CLASSIFIER}/kernel": kernel, f"{CLASSIFIER}/bias": bias}


def _kernel(part: Convolution) -> NDArray[np.float32]:
    """Every tap's own noise, plus noise that all taps share."""
    name, side = f"{part.name}/kernel", part.kernel
    deviation = math.sqrt(2 / part.fan_in)
    own = seeded_normal(name, (side, side, part.input_channels, part.output_channels), SEED)
    if side == 1:
        return own * np.float32(deviation)
    share = _SMOOTHNESS / (_SMOOTHNESS + side**2)
    common = seeded_normal(f"{name}/common", own.shape[2:], SEED)
    own *= np.float32(deviation * math.sqrt(1 - share))
    own += common * np.float32(deviation * math.sqrt(share))
    return own


def _branch_gamma(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return seeded_uniform(name, shape, *_BRANCH_GAMMA, SEED)


def _gamma(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return seeded_normal(name, shape, SEED) * np.float32(_GAMMA_DEVIATION) + np.float32(1)
