"""Weights of a GCN: seeded, or out of a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from model_zoo.gcn_network import FIRST, HIDDEN, SECOND, Gcn
from model_zoo.seeded import seeded_normal
from runtime.tensors import Array

SEED = 0

_SMOOTHED = 4.0
"""By about this much the means of a paper's words, and of its neighbours, are smaller than a word's row."""


def weights_of(network: Gcn, path: Path | None) -> Mapping[str, Array]:
    """The tensors of `network.shapes()`; seeded if `path` is None.

    Raises UsageError for a file that cannot be read, lacks a tensor, or has one of another shape.
    """
    if path is not None:
        from model_zoo.weights import read_weights, take

        return take(read_weights(path), network.shapes())
    return seeded_weights(network)


def seeded_weights(network: Gcn) -> Mapping[str, Array]:
    """Weights that give hidden features near N(0, 1) before the ReLU, and classes that differ by paper.

    What all papers have in common, the mean behind the ReLU, would give them all one class: the second
    kernel's columns add up to zero, so that it does not see it.
    """
    shapes = network.shapes()
    first = seeded_normal(FIRST, shapes[FIRST], SEED) * _SMOOTHED
    second = seeded_normal(SECOND, shapes[SECOND], SEED) / math.sqrt(HIDDEN)
    return {FIRST: first, SECOND: second - second.mean(axis=0)}
