"""The weights of a network that is described as layers, as the blobs of its Caffe layers, and back.

Only the layout differs: a network's weights are made for its own input, be it BGR or RGB.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from model_zoo.caffe_files import Blobs, statistics_blobs, statistics_from
from model_zoo.layers import BatchNorm, Convolution, InnerProduct, Network, Shape
from runtime.tensors import Array


def blobs_of(network: Network, weights: Mapping[str, Array]) -> Blobs:
    """The blobs of every layer that has any, in the order of the layers."""
    blobs: Blobs = {}
    for layer in network.layers:
        if isinstance(layer, BatchNorm):
            gamma, beta, mean, variance = (weights[name] for name in _batch_norm_names(layer))
            blobs[layer.name] = statistics_blobs(mean, variance)
            blobs[layer.scale] = (gamma, beta)
        elif isinstance(layer, Convolution | InnerProduct):
            kernel = np.moveaxis(weights[f"{layer.name}/kernel"], (-1, -2), (0, 1))
            biases = (weights[name] for name in _bias_names(layer))
            blobs[layer.name] = (np.ascontiguousarray(kernel), *biases)
    return blobs


def weights_from(network: Network, blobs: Mapping[str, tuple[Array, ...]]) -> dict[str, Array]:
    """The inverse of `blobs_of`, up to float32's rounding of the statistics."""
    weights: dict[str, Array] = {}
    for layer in network.layers:
        if isinstance(layer, BatchNorm):
            values = (*blobs[layer.scale], *statistics_from(*blobs[layer.name]))
            weights |= dict(zip(_batch_norm_names(layer), values, strict=True))
        elif isinstance(layer, Convolution | InnerProduct):
            kernel, *biases = blobs[layer.name]
            weights[f"{layer.name}/kernel"] = np.ascontiguousarray(np.moveaxis(kernel, (0, 1), (-1, -2)))
            weights |= dict(zip(_bias_names(layer), biases, strict=True))
    return weights


def blob_shapes(network: Network) -> dict[str, tuple[Shape, ...]]:
    """What `weights_from` wants: layer name to the shapes of its blobs."""
    shapes: dict[str, tuple[Shape, ...]] = {}
    tensors = network.tensors()
    for layer in network.layers:
        if isinstance(layer, BatchNorm):
            channels = tensors[f"{layer.name}/gamma"]
            shapes |= {layer.name: (channels, channels, (1,)), layer.scale: (channels, channels)}
        elif isinstance(layer, Convolution | InnerProduct):
            *sides, inputs, outputs = tensors[f"{layer.name}/kernel"]
            shapes[layer.name] = ((outputs, inputs, *sides), *(tensors[name] for name in _bias_names(layer)))
    return shapes


def _batch_norm_names(layer: BatchNorm) -> tuple[str, ...]:
    return tuple(f"{layer.name}/{part}" for part in ("gamma", "beta", "moving_mean", "moving_variance"))


def _bias_names(layer: Convolution | InnerProduct) -> tuple[str, ...]:
    return (f"{layer.name}/bias",) if isinstance(layer, InnerProduct) or layer.bias else ()
