"""Weights of Wide & Deep: seeded, or out of a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from model_zoo.seeded import seeded_normal
from model_zoo.wide_deep_network import BIAS, EMBEDDING, LAYERS, LOGITS, shapes, units_of_inputs
from runtime.tensors import Array

SEED = 0

_WIDE_DEVIATION = 0.4
_BIAS_DEVIATION = 0.1
_RECTIFIED = 2.0
_ON_AT_ONCE = 10
"""Of the 51 inputs: five numbers near 1, four ones of one-hot vectors, an embedding of about length 1."""

_LOGIT_BIAS = -0.37
"""What the others' sum is above 0 in the middle: measured on Adult, so that half of the answers are yes."""


def weights_of(path: Path | None) -> dict[str, Array]:
    """The tensors of `wide_deep.shapes()`; seeded if `path` is None.

    Raises UsageError for a file that cannot be read, lacks a tensor, or has one of another shape.
    """
    if path is None:
        return seeded_weights(SEED)
    from model_zoo.weights import read_weights, take

    return take(read_weights(path), shapes())


def seeded_weights(seed: int) -> dict[str, Array]:
    """Weights with which wide and deep part matter alike, and people are on both sides of 1/2."""
    drawn = {name: _drawn(name, shape, seed) for name, shape in shapes().items()}
    drawn[f"{LAYERS[0]}/kernel"] /= units_of_inputs()
    drawn[BIAS] = np.full((1,), _LOGIT_BIAS, np.float32)
    return drawn


def _drawn(name: str, shape: tuple[int, ...], seed: int) -> Array:
    return seeded_normal(name, shape, seed) * np.float32(_deviation(name, shape))


def _deviation(name: str, shape: tuple[int, ...]) -> float:
    if name.startswith("linear/"):
        return _WIDE_DEVIATION
    if name == EMBEDDING:
        return 1 / math.sqrt(shape[1])
    if len(shape) == 1:
        return _BIAS_DEVIATION
    inputs = _ON_AT_ONCE if name.startswith(LAYERS[0]) else shape[0]
    return math.sqrt((1 if name.startswith(LOGITS) else _RECTIFIED) / inputs)
