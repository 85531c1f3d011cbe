"""Weights of a DIEN: a file's, or seeded ones under which answers differ from user to user.

As in `din_seeded`, a layer behind a sigmoid or Dice, whose means are not zero, has its rows twice, the second
time negated. Padding is embedded near zero: all steps are summed, and 90 times the same would be most of what
the network sees. The stored variances are those that the other scales bring about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.behaviour_layers import ATTENTION_UNITS
from model_zoo.dien_network import ATTENTION, AUXILIARY_UNITS, EMBEDDING, FEATURES, TAIL_UNITS, WIDTH, Dien
from model_zoo.layers import Shape
from model_zoo.seeded import seeded_normal
from model_zoo.weights import Alias, read_weights, take
from runtime.tensors import Array

Tensor = NDArray[np.float32]
Make = Callable[[str, Shape], Tensor]

# Deviations of what a layer reads.
_EMBEDDING = 0.5
_STATE = 0.6
_SIGMOID = 0.28  # of the sigmoid of N(0, 1.5)
_DICE = 0.75  # of the half of Dice's outputs that a mirrored layer takes the difference of

# Deviations of what it gives.
_PREACTIVATION = 1.5
_RECURRENT = 1.0
_ATTENTION_LOGIT = 1.5
_LOGIT = 2.0

_PADDING = 1 / 64  # of an embedding
_HISTORY_LENGTH = 12.0
_ALPHA = 0.1
_BIAS = 0.1
_GATE_BIAS = 1.0  # TensorFlow's own: states are kept rather than replaced

_COMPARED = 4 * WIDTH * _STATE**2 * 1.1  # mean square of query, state, difference and product together

_ALIASES: Mapping[str, str] = {
    "gru1/gates": "gru1/gru_cell/gates",
    "gru1/candidate": "gru1/gru_cell/candidate",
    "gru2/gates": "gru2/vec_att_gru_cell/gates",
    "gru2/candidate": "gru2/vec_att_gru_cell/candidate",
    "attention/query": "f11_1",
    **{name: f"f{layer}_att1_1" for layer, name in enumerate(ATTENTION, start=1)},
}
"""What the reference's checkpoints call layers that have another name here."""

_ALPHAS: Mapping[str, tuple[str, ...]] = {
    "attention/query/alpha": ("prelu/prelu_", "prelu/prelu"),
    "dice_1/alpha": ("dice_1/alphadice_1",),
    "dice_2/alpha": ("dice_2/alphadice_2",),
}
"""In AI Matrix' checkpoints, and in those of mouna99/dien (script/utils.py, script/Dice.py)."""


def weights_of(network: Dien, path: Path | None) -> dict[str, Array]:
    """Those of a file, or seeded ones; raises UsageError for a file that does not fit."""
    if path is None:
        return seeded_weights(network)
    shapes = network.shapes()
    return take(read_weights(path), shapes, _aliases(shapes))


def seeded_weights(network: Dien) -> dict[str, Array]:
    """All tensors of `network.shapes()`."""
    return {name: _tensor(name, shape) for name, shape in network.shapes().items()}


def _aliases(shapes: Mapping[str, Shape]) -> dict[str, tuple[Alias, ...]]:
    aliases = {name: tuple(map(Alias, others)) for name, others in _ALPHAS.items()}
    for name in shapes:
        layer, _, part = name.rpartition("/")
        if layer in _ALIASES and part != "alpha":
            aliases[name] = (Alias(f"{_ALIASES[layer]}/{part}"),)
    return aliases


def _tensor(name: str, shape: Shape) -> Tensor:
    layer, _, part = name.rpartition("/")
    if part == "kernel":
        return _KERNELS[layer](name, shape)
    if part in _STATISTICS:
        return _STATISTICS[part](name, shape)
    if part == "alpha":
        return np.full(shape, _ALPHA, np.float32)
    if name.endswith("embedding_var"):
        table = _normal(_EMBEDDING)(name, shape)
        table[0] *= np.float32(_PADDING)
        return table
    bias = _normal(_BIAS)(name, shape)
    return bias + np.float32(_GATE_BIAS) if layer.endswith("gates") else bias


def _normal(deviation: float) -> Make:
    def make(name: str, shape: Shape) -> Tensor:
        values = seeded_normal(f"dien/{name}", shape)
        values *= np.float32(deviation)
        return values

    return make


def _mirrored(deviation: float) -> Make:
    def make(name: str, shape: Shape) -> Tensor:
        rows = _normal(deviation)(name, (shape[0] // 2, *shape[1:]))
        return np.concatenate([rows, -rows])

    return make


def _variances(name: str, shape: Shape) -> Tensor:
    """Of user, item, sum of the history, its product with the item, and last state; or of state and item."""
    item, summed = _EMBEDDING**2, _HISTORY_LENGTH * _EMBEDDING**2
    if shape == (FEATURES,):
        parts = {item: EMBEDDING + WIDTH, summed: WIDTH, item * summed: WIDTH, _STATE**2: WIDTH}
    else:
        parts = {_STATE**2: WIDTH, item: WIDTH}
    return np.concatenate([np.full(count, value, np.float32) for value, count in parts.items()])


def _filled(value: float) -> Make:
    return lambda _, shape: np.full(shape, value, np.float32)


_STATISTICS: Mapping[str, Make] = {
    "gamma": _filled(1.0),
    "beta": _filled(0.0),
    "moving_mean": _filled(0.0),
    "moving_variance": _variances,
}

_RECURRENT_KERNEL = _normal(_RECURRENT / math.sqrt(WIDTH * (_EMBEDDING**2 + _STATE**2)))

_KERNELS: Mapping[str, Make] = {
    **{f"{name}/{part}": _RECURRENT_KERNEL for name in ("gru1", "gru2") for part in ("gates", "candidate")},
    "attention/query": _normal(_STATE / (math.sqrt(WIDTH) * _EMBEDDING)),
    ATTENTION[0]: _normal(_PREACTIVATION / math.sqrt(_COMPARED)),
    ATTENTION[1]: _mirrored(_PREACTIVATION / (math.sqrt(ATTENTION_UNITS[0]) * _SIGMOID)),
    ATTENTION[2]: _mirrored(_ATTENTION_LOGIT / (math.sqrt(ATTENTION_UNITS[1]) * _SIGMOID)),
    "f1": _normal(1 / math.sqrt(FEATURES)),
    "f2": _mirrored(1 / (math.sqrt(TAIL_UNITS[0]) * _DICE)),
    "f3": _mirrored(_LOGIT / (math.sqrt(2 * TAIL_UNITS[1]) * _DICE)),
    "f1gru": _normal(_PREACTIVATION / math.sqrt(2 * WIDTH)),
    "f2gru": _mirrored(_PREACTIVATION / (math.sqrt(AUXILIARY_UNITS[0]) * _SIGMOID)),
    "f3gru": _mirrored(_LOGIT / (math.sqrt(2 * AUXILIARY_UNITS[1]) * _SIGMOID)),
}
