"""Weights of a DIN: a file's, or seeded ones under which answers differ from user to user.

Scales are chosen so that what is trained would not be far off: attention that is spread over a few of the
behaviours, sigmoids that are neither linear nor saturated, and logits of either sign. A sigmoid's mean of one
half would add the same to all that a layer gives, more of it with each layer; so a layer behind one has its
rows twice, the second time negated, and it cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.behaviour_layers import ATTENTION_UNITS
from model_zoo.din_network import ATTENTION, TAIL, Din
from model_zoo.layers import Shape
from model_zoo.seeded import seeded_normal
from model_zoo.weights import read_weights, take
from runtime.tensors import Array

Tensor = NDArray[np.float32]

# Deviations. An item's features are half a unit; the mean over a history is smaller.
_EMBEDDING = 0.5
_BIAS = 0.1
_USER = 0.25
_PREACTIVATION = 1.5
_SIGMOID = 0.28  # of the sigmoid of N(0, 1.5)
_ATTENTION_LOGIT = 1.2
_LOGIT = 2.0


# Mean squares of query, key, difference and product, relative to an item's feature.
_COMPARED = 1 + 1 + 2 + _EMBEDDING**2

_STATISTICS: Mapping[str, float] = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
"""The reference never updates them, for it calls the layer without saying that it trains (MODELS.md 14)."""


def weights_of(network: Din, path: Path | None) -> Iterable[tuple[str, Array]]:
    """Those of a file, or seeded ones; raises UsageError for a file that does not fit."""
    shapes = network.shapes() | network.unused_shapes()
    return seeded_weights(network) if path is None else take(read_weights(path), shapes).items()


def seeded_weights(network: Din) -> Iterator[tuple[str, Tensor]]:
    """All tensors of `network.shapes()` and `network.unused_shapes()`, one at a time."""
    kernels = _kernels(network)
    for name, shape in (network.shapes() | network.unused_shapes()).items():
        yield name, _tensor(name, shape, kernels)


def _kernels(network: Din) -> dict[str, Callable[[str, Shape], Tensor]]:
    """How each kernel is made, by the layer's name."""
    first, second = ATTENTION_UNITS
    width = network.width
    compared = math.sqrt(width * _COMPARED) * _EMBEDDING
    scaled = _ATTENTION_LOGIT * math.sqrt(width)  # the scores are divided by this root
    return {
        ATTENTION[0]: _plain(_PREACTIVATION / compared),
        ATTENTION[1]: _mirrored(_PREACTIVATION / (math.sqrt(first) * _SIGMOID)),
        ATTENTION[2]: _mirrored(scaled / (math.sqrt(second) * _SIGMOID)),
        "hist_fcn": _plain(1 / (math.sqrt(width) * _USER)),
        TAIL[0]: _plain(_PREACTIVATION / math.sqrt(width * (1 + _EMBEDDING**2))),
        TAIL[1]: _mirrored(_PREACTIVATION / (math.sqrt(first) * _SIGMOID)),
        TAIL[2]: _mirrored(_LOGIT / (math.sqrt(second) * _SIGMOID)),
    }


def _tensor(name: str, shape: Shape, kernels: Mapping[str, Callable[[str, Shape], Tensor]]) -> Tensor:
    layer, _, part = name.rpartition("/")
    if part in _STATISTICS:
        return np.full(shape, _STATISTICS[part], np.float32)
    if part == "kernel":
        return kernels[layer](name, shape)
    return _plain(_EMBEDDING if part.endswith("emb_w") else _BIAS)(name, shape)


def _plain(deviation: float) -> Callable[[str, Shape], Tensor]:
    def make(name: str, shape: Shape) -> Tensor:
        values = seeded_normal(f"din/{name}", shape)
        values *= np.float32(deviation)
        return values

    return make


def _mirrored(deviation: float) -> Callable[[str, Shape], Tensor]:
    def make(name: str, shape: Shape) -> Tensor:
        rows = _plain(deviation)(name, (shape[0] // 2, *shape[1:]))
        return np.concatenate([rows, -rows])

    return make
