"""Weights of a network that is described as layers: seeded, or out of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from model_zoo import seglink_names, ssd_names
from model_zoo.caffe_files import blob_name
from model_zoo.image_statistics import statistics_of
from model_zoo.layers import (
    Deconvolution,
    Shape,
)
from model_zoo.layers_blobs import blob_shapes, weights_from
from model_zoo.layers_seeded import measured_channels, seeded_weights
from model_zoo.network import Network
from runtime.tensors import Array

_OUR_LAYOUT = frozenset({".npz", ".safetensors"})
"""Files of plain arrays; any other is TensorFlow's."""

_ORIGINALS: Mapping[str, Callable[[str], str]] = {
    ssd_names.MARKER: ssd_names.original_name,
    seglink_names.MARKER: seglink_names.original_name,
}
"""A layer that only networks of a family have, to what the family's original calls a tensor."""


def weights_of(network: Network, path: Path | None) -> Mapping[str, Array]:
    """The tensors of `network.tensors()`; seeded if `path` is None.

    A file holds those names (`conv1/kernel`, ...), those of the network's original, of TensorFlow's slim or
    of Keras, or a caffemodel's layers. Its weights are taken to be made for the network's own input, except
    those of `densenet_keras`.
    Raises UsageError for a file that cannot be read, lacks a tensor, or has one of another shape.
    """
    if path is None:
        measured = measured_channels(network)
        return seeded_weights(network, statistics_of(network.statistics, measured, network.features))
    from model_zoo import densenet_keras
    from model_zoo.weights import Alias, read_weights, take

    stored = read_weights(path)
    if path.suffix.lower() == ".caffemodel":
        return _caffe_weights(network, stored)
    if path.suffix.lower() not in _OUR_LAYOUT:
        stored = {name: _as_ours(network, name, array) for name, array in stored.items()}
    if densenet_keras.is_of_keras(network, stored):
        return densenet_keras.weights_from(network, stored)
    original = next((_ORIGINALS[marker] for marker in _ORIGINALS if marker in network.named), _in_slim)
    aliases = {name: (Alias(_in_slim(name)), Alias(original(name))) for name in network.tensors()}
    return take(stored, network.tensors(), aliases)


def _as_ours(network: Network, name: str, array: Array) -> Array:
    """TensorFlow's transposed convolutions have outputs before inputs."""
    *_, layer, part = ("", *name.split("/"))
    transposed = isinstance(network.named.get(layer), Deconvolution) and part in ("kernel", "weights")
    return array.swapaxes(2, 3) if transposed and array.ndim == 4 else array


def _in_slim(name: str) -> str:
    """What TensorFlow 1's slim calls a kernel or a bias."""
    return name.replace("/kernel", "/weights").replace("/bias", "/biases")


def _caffe_weights(network: Network, stored: Mapping[str, Array]) -> Mapping[str, Array]:
    from model_zoo.weights import take

    layers = blob_shapes(network)
    wanted = {
        blob_name(layer, index): shape
        for layer, shapes in layers.items()
        for index, shape in enumerate(shapes)
    }
    blobs = take(_of_current_rank(stored, wanted), wanted)
    return weights_from(
        network,
        {
            layer: tuple(blobs[blob_name(layer, index)] for index in range(len(shapes)))
            for layer, shapes in layers.items()
        },
    )


def _of_current_rank(stored: Mapping[str, Array], wanted: Mapping[str, Shape]) -> Mapping[str, Array]:
    """Without the leading 1s of files from before 2014-12, where every blob had four dimensions."""

    def trimmed(name: str, array: Array) -> Array:
        excess = array.ndim - len(wanted.get(name, array.shape))
        return array.reshape(array.shape[excess:]) if set(array.shape[:excess]) == {1} else array

    return {name: trimmed(name, array) for name, array in stored.items()}
