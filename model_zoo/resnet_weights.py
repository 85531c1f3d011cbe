"""Weights of a ResNet: seeded, or out of a file with TensorFlow's, Caffe's or Keras' names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from model_zoo.caffe_files import blob_name
from model_zoo.image_statistics import statistics_of
from model_zoo.resnet import ResNet
from model_zoo.resnet_blobs import blob_shapes, weights_from
from model_zoo.resnet_seeded import measured_channels, seeded_weights
from runtime.errors import UsageError
from runtime.tensors import Array

_SLIM = "/bottleneck_v1/"


def weights_of(network: ResNet, path: Path | None) -> Mapping[str, Array]:
    """The tensors of `network.shapes()`, and `conv1/bias` where there is one; seeded if `path` is None.

    A file holds those names (`conv1/kernel`, ...), a caffemodel's layers (`conv1`, `bn_conv1`, ...), or
    Keras' (`resnet_keras`). Weights trained on pixels with another mean than 127.5 are used as they are.
    Raises UsageError for a file that cannot be read, lacks a tensor, or has one of another shape.
    """
    if path is None:
        measured = measured_channels(network)
        return seeded_weights(network, statistics_of(network.name, measured, network.features))
    from model_zoo import resnet_keras
    from model_zoo.weights import read_weights

    stored = read_weights(path)
    if blob_name(network.stem.name, 0) in stored:
        return _caffe_weights(network, stored)
    if resnet_keras.is_of_keras(stored):
        return resnet_keras.weights_from(network, stored)
    _refuse_slim(path, stored)
    return _tensorflow_weights(network, stored)


def _refuse_slim(path: Path, stored: Mapping[str, Array]) -> None:
    """Its tensors have the same shapes, but its strides are elsewhere, and the answers would be wrong."""
    name = next((name for name in stored if _SLIM in name), None)
    if name is not None:
        raise UsageError(
            f"weights {path} are of a slim ResNet ({name}), whose strides are in the 3x3 convolution of a"
            " stage's last block; expected a ResNet v1 with strides in the first 1x1: give a caffemodel or"
            " Keras' weights"
        )


def _tensorflow_weights(network: ResNet, stored: Mapping[str, Array]) -> Mapping[str, Array]:
    from model_zoo.weights import take

    bias = f"{network.stem.name}/bias"
    optional = {bias: (network.width,)} if bias in stored else {}
    return take(stored, network.shapes() | optional)


def _caffe_weights(network: ResNet, stored: Mapping[str, Array]) -> Mapping[str, Array]:
    from model_zoo.weights import take

    layers = blob_shapes(network)
    wanted = {
        blob_name(layer, index): shape
        for layer, shapes in layers.items()
        for index, shape in enumerate(shapes)
    }
    blobs = take(stored, wanted)
    return weights_from(
        network,
        {
            layer: tuple(blobs[blob_name(layer, index)] for index in range(len(shapes)))
            for layer, shapes in layers.items()
        },
    )
