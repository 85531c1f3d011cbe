"""Weights of NCF: seeded, or out of a file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from model_zoo.ncf_network import PREDICT, TABLES, Ncf
from model_zoo.seeded import seeded_normal
from runtime.tensors import Array

SEED = 0

_TABLE_BIAS = 0.25
"""Beside rows near N(0, 1): the ReLU cuts four of ten values off, where without a bias it would be half."""

_RECTIFIED = 2.0
"""Over the inputs of a layer, its kernel's variance that keeps the scale (He et al. 2015)."""

_BIAS_DEVIATION = 0.1

_PREDICT_DEVIATION = 0.5
_PREDICT_BIAS = 0.3
"""What the median logit lacks to 0 without it, measured: half of all pairs are answered with yes."""


def weights_of(network: Ncf, path: Path | None) -> Iterable[tuple[str, Array]]:
    """Name and value of the tensors of `network.shapes()`, one at a time; seeded if `path` is None.

    Raises UsageError for a file that cannot be read, lacks a tensor, or has one of another shape.
    """
    if path is None:
        return seeded_weights(network)
    from model_zoo.weights import read_weights, take

    return take(read_weights(path), network.shapes()).items()


def seeded_weights(network: Ncf) -> Iterator[tuple[str, Array]]:
    """Weights with which about half of all pairs have a logit above 0, whatever the sizes of the tables.

    The rows of a table are drawn alike, so the logits' distribution depends on the layers behind alone, and
    these are the same in every network with as many factors.
    """
    for name, shape in network.shapes().items():
        values = seeded_normal(name, shape, SEED)
        values *= np.float32(_deviation(name, shape))  # in place: a table may have gigabytes
        values += np.float32(_mean(name))
        yield name, values


def _deviation(name: str, shape: tuple[int, ...]) -> float:
    layer, _, part = name.partition("/")
    if part == "bias":
        return 0.0 if layer == PREDICT else _BIAS_DEVIATION
    if layer in TABLES:
        return 1.0
    return _PREDICT_DEVIATION if layer == PREDICT else math.sqrt(_RECTIFIED / shape[0])


def _mean(name: str) -> float:
    layer, _, part = name.partition("/")
    if part == "kernel":
        return 0.0
    return _TABLE_BIAS if layer in TABLES else _PREDICT_BIAS if layer == PREDICT else 0.0
