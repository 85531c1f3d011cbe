"""Weights of english_g2: EasyOCR's own, fetched, or a state dict of the same network (`crnn_english`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from model_zoo.crnn_layers import DIRECTIONS, BidirectionalLstm
from model_zoo.layers import (
    FeatureMap,
    Layer,
    Shape,
)
from model_zoo.network import Network
from model_zoo.seeded_layers import Weights
from model_zoo.weights import Alias, read_weights, take
from runtime.errors import UnavailableError
from runtime.tensors import Array

_ENGLISH_G2 = "easyocr_en_models/models/english_g2.pth"

_PARALLEL = "module."
"""In front of every name where the network was trained on several GPUs, as EasyOCR's were."""

_PARTS: Mapping[str, str] = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""TensorFlow's names of a layer's tensors to torch's."""

_ENDINGS: Mapping[str, str] = dict(zip(DIRECTIONS, ("l0", "l0_reverse"), strict=True))

_GATES = (0, 2, 1, 3)
"""Torch has input, forget, cell, output; TensorFlow input, cell, forget, output."""


def weights_of(network: Network, path: Path | None) -> Weights:
    """The tensors of `network.tensors()`, out of a state dict with EasyOCR's names; by default EasyOCR's own.

    Raises UsageError for a file that cannot be read, lacks a tensor, or has one of another shape;
    UnavailableError where english_g2 cannot be fetched.
    """
    wanted = state_dict_shapes(network)
    aliases = {name: (Alias(_PARALLEL + name),) for name in wanted}
    stored = take(read_weights(_fetched() if path is None else path), wanted, aliases)
    weights: Weights = {}
    for layer, of in network.fed_layers():
        weights |= _from_torch(layer, of, stored)
    return weights


def state_dict_shapes(network: Network) -> dict[str, Shape]:
    """Names and shapes of the tensors in the network's state dict, as torch lays them out."""
    return {
        name: shape for layer, of in network.fed_layers() for name, shape in _stored_shapes(layer, of).items()
    }


def _stored_shapes(layer: Layer, of: FeatureMap) -> Mapping[str, Shape]:
    if isinstance(layer, BidirectionalLstm):
        return _lstm_shapes(layer, of)
    return {
        _stored_name(name): (*shape[:-3:-1], *shape[:-2]) if len(shape) > 1 else shape
        for name, shape in layer.tensors(of).items()
    }


def _lstm_shapes(layer: BidirectionalLstm, of: FeatureMap) -> Mapping[str, Shape]:
    gates = 4 * layer.units
    shapes: Mapping[str, Shape] = {
        "weight_ih": (gates, of.channels),
        "weight_hh": (gates, layer.units),
        "bias_ih": (gates,),
        "bias_hh": (gates,),
    }
    return {
        f"{_dotted(layer.name)}.{part}_{ending}": shape
        for ending in _ENDINGS.values()
        for part, shape in shapes.items()
    }


def _from_torch(layer: Layer, of: FeatureMap, stored: Mapping[str, Array]) -> Weights:
    """A layer's tensors, in the layout of `layers`."""
    if not isinstance(layer, BidirectionalLstm):
        return {name: _channels_last(stored[_stored_name(name)]) for name in layer.tensors(of)}
    weights: Weights = {}
    for direction, ending in _ENDINGS.items():
        inputs, units, *biases = (
            _gates(stored[f"{_dotted(layer.name)}.{part}_{ending}"])
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        weights[f"{layer.name}/{direction}/kernel"] = np.concatenate((inputs.T, units.T))
        weights[f"{layer.name}/{direction}/bias"] = biases[0] + biases[1]
    return weights


def _channels_last(array: Array) -> Array:
    """Outputs, inputs, window to window, inputs, outputs; a vector as it is."""
    return array.transpose(*range(2, array.ndim), 1, 0) if array.ndim > 1 else array


def _gates(rows: Array) -> Array:
    parts = np.split(rows, 4)
    return np.concatenate([parts[gate] for gate in _GATES])


def _stored_name(name: str) -> str:
    scope, _, part = name.rpartition("/")
    return f"{_dotted(scope)}.{_PARTS[part]}"


def _dotted(scope: str) -> str:
    return scope.replace("/", ".")


def _fetched() -> Path:
    from model_zoo.archives import fetch

    try:
        return fetch("english-g2") / _ENGLISH_G2
    except UnavailableError as error:
        raise UnavailableError(f"{error}; or give --weights english_g2.pth of EasyOCR") from error
