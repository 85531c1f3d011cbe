"""Weights of CRNN: seeded, or out of a file.

The convolutions are seeded as those of other networks are (`layers_seeded`), with statistics of images of
words. The LSTMs are drawn so that their gates are neither shut nor wide open, and forget what they disturb:
the recurrent part is small enough for two runs that differ a little to come together again. The characters
look at the directions in which the columns of words differ most, and the blank is the likeliest of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from model_zoo.crnn_layers import BidirectionalLstm
from model_zoo.image_statistics import Statistics, statistics_of
from model_zoo.layers import FeatureMap
from model_zoo.layers_seeded import measured_channels, seeded_weights
from model_zoo.network import Network
from model_zoo.seeded import seeded_normal
from model_zoo.seeded_layers import SEED, Weights, seeded_classifier
from runtime.tensors import Array

# Of a gate before its sigmoid: what the inputs and what the units before bring in.
_INPUT_DEVIATION = 3.0
_RECURRENT_DEVIATION = 0.5

# With the one that is always added, -3: a unit keeps little from column to column, so that the answer changes
# within a word.
_FORGET_BIAS = -4.0

# Mean squares of what an LSTM reads: a rectifier behind a batch normalisation, another LSTM, its own units.
_RECTIFIED = 0.5
_HIDDEN = 0.2

_BLANK = 9.0
"""What the blank has more than the characters: half of the columns are blank, and words have some letters."""

# The map to characters has no bias. One unit of the last LSTM is always the same instead: its gates are wide
# open but for the forget gate, so its cell is 1 in every column.
_OPEN = 10.0
_STEADY = math.tanh(1.0)


def weights_of(network: Network, path: Path | None) -> Mapping[str, Array]:
    """The tensors of `network.tensors()`; seeded if `path` is None.

    Raises UsageError for a file that cannot be read, lacks a tensor, or has one of another shape.
    """
    if path is not None:
        from model_zoo.crnn_names import original_names
        from model_zoo.weights import Alias, read_weights, take

        wanted = network.tensors()
        aliases = {name: tuple(map(Alias, original_names(name))) for name in wanted}
        return take(read_weights(path), wanted, aliases)
    measured = measured_channels(network)
    statistics = statistics_of(network.statistics, measured, network.maps[last_lstm(network).name].channels)
    return all_weights(network, statistics)


def all_weights(network: Network, statistics: Statistics) -> Weights:
    """All tensors, seeded, for what `batch_norm_statistics.walk_words` measured."""
    return features_weights(network, statistics) | _characters_weights(network, statistics)


def features_weights(network: Network, statistics: Statistics) -> Weights:
    """All tensors but those of the characters; reads only the channels' means and variances."""
    weights = seeded_weights(network, statistics)
    for layer, of in network.fed_layers():
        if isinstance(layer, BidirectionalLstm):
            recurrent = isinstance(network.named[layer.bottoms[0]], BidirectionalLstm)
            weights |= _lstm_weights(layer, of, _HIDDEN if recurrent else _RECTIFIED)
    _hold_steady(weights, last_lstm(network))
    return weights


def last_lstm(network: Network) -> BidirectionalLstm:
    """The layer whose output is mapped to characters."""
    return [layer for layer in network.layers if isinstance(layer, BidirectionalLstm)][-1]


def _lstm_weights(layer: BidirectionalLstm, of: FeatureMap, mean_square: float) -> Weights:
    weights: Weights = {}
    inputs = _INPUT_DEVIATION / math.sqrt(of.channels * mean_square)
    units = _RECURRENT_DEVIATION / math.sqrt(layer.units * _HIDDEN)
    for name, shape in layer.tensors(of).items():
        if name.endswith("/bias"):
            weights[name] = np.repeat(np.array((0, 0, _FORGET_BIAS, 0), np.float32), layer.units)
            continue
        weights[name] = seeded_normal(name, shape, SEED)
        weights[name][: of.channels] *= np.float32(inputs)
        weights[name][of.channels :] *= np.float32(units)
    return weights


def _hold_steady(weights: Weights, layer: BidirectionalLstm) -> None:
    """Make the first unit that goes forward the same in every column."""
    gates = slice(None, None, layer.units)
    weights[f"{layer.name}/forward/kernel"][:, gates] = 0
    weights[f"{layer.name}/forward/bias"][gates] = (_OPEN, _OPEN, -_OPEN, _OPEN)


def _characters_weights(network: Network, statistics: Statistics) -> Weights:
    layer = network.layers[-1]
    drawn = seeded_classifier(layer.name, network.maps[layer.name].channels, statistics)
    kernel, bias = drawn[f"{layer.name}/kernel"], drawn[f"{layer.name}/bias"]
    bias[-1] += np.float32(_BLANK)
    kernel[0] += bias / np.float32(_STEADY)
    return {f"{layer.name}/kernel": kernel}
