"""Seeded tensors of layers, drawn so that a network of them behaves like a trained one.

Kernels have the variance of He et al. 2015 ("Delving deep into rectifiers"), the statistics of channels are
those that photographs give in the very network, and the classifier looks at the directions in which
photographs differ most. So no activation dies or explodes at any depth, and the class changes from
photograph to photograph: a random network without the last two answers every photograph alike, and
agreement between two precisions of it would mean nothing.

Made of IEEE operations on single elements only, in a fixed order: the same bytes on every machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model_zoo.image_statistics import DIRECTIONS, Statistics
from model_zoo.seeded import seeded_normal, seeded_uniform

Weights = dict[str, NDArray[np.float32]]

SEED = 0
"""The one the stored statistics belong to."""

LOGITS_DEVIATION = 3.0
"""Of all classes over all photographs; a trained network's are 2.5 to 4."""

# Power of a kernel's response to a flat image over that to its own noise. Trained kernels are smooth; without
# this the differences between photographs average out before the last stage.
_SMOOTHNESS = 4.5

_GAMMA_DEVIATION = 0.25
_BRANCH_GAMMA = (0.1, 0.3)
_BETA_DEVIATION = 0.1

# Cubing the classifier's values makes one class stand out where plain normal ones leave the best few close
# together: the median photograph gets a probability of 0.7 and not 0.2. The sixth moment of the sum of four
# uniforms is k6 + 15 k4 + 15, with the cumulants k6 = 48/7 / 4**2 and k4 = -6/5 / 4.
_CUBED_DEVIATION = math.sqrt(3 / 7 - 4.5 + 15)


def seeded_kernel(name: str, side: int, inputs: int, outputs: int) -> NDArray[np.float32]:
    """[side, side, inputs, outputs]: every tap's own noise, plus noise that all taps share."""
    deviation = math.sqrt(2 / (side**2 * inputs))
    own = seeded_normal(name, (side, side, inputs, outputs), SEED)
    if side == 1:
        return own * np.float32(deviation)
    share = _SMOOTHNESS / (_SMOOTHNESS + side**2)
    common = seeded_normal(f"{name}/common", (inputs, outputs), SEED)
    own *= np.float32(deviation * math.sqrt(1 - share))
    own += common * np.float32(deviation * math.sqrt(share))
    return own


def seeded_gamma(name: str, channels: int) -> NDArray[np.float32]:
    return seeded_normal(name, (channels,), SEED) * np.float32(_GAMMA_DEVIATION) + np.float32(1)


def seeded_branch_gamma(name: str, channels: int) -> NDArray[np.float32]:
    """Of what is added to a shortcut: little in trained networks, most of all in deep ones."""
    return seeded_uniform(name, (channels,), *_BRANCH_GAMMA, SEED)


def seeded_beta(name: str, channels: int) -> NDArray[np.float32]:
    return seeded_normal(name, (channels,), SEED) * np.float32(_BETA_DEVIATION)


def seeded_classifier(name: str, classes: int, statistics: Statistics) -> Weights:
    """A random map from the coordinates that `statistics` makes of the pooled features to logits."""
    normal = seeded_normal(f"{name}/kernel", (DIRECTIONS, classes), SEED)
    deviation = LOGITS_DEVIATION / (math.sqrt(DIRECTIONS) * _CUBED_DEVIATION)
    rows = normal * normal * normal * np.float32(deviation)
    kernel = np.zeros((len(statistics.directions), classes), np.float32)
    bias = np.zeros(classes, np.float32)
    for index in range(DIRECTIONS):  # no matrix product: its order of summation differs between machines
        direction = statistics.directions[:, index].astype(np.float32) * statistics.scale[index]
        kernel += direction[:, None] * rows[index]
        bias -= statistics.origin[index] * rows[index]
    return {f"{name}/kernel": kernel, f"{name}/bias": bias}
