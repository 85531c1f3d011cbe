"""The weights of a network that is described as layers, as the blobs of its Caffe layers, and back.

Only the layout differs: a network's weights are made for its own input, be it BGR or RGB.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from model_zoo.caffe_files import Blobs, statistics_blobs, statistics_from
from model_zoo.layers import (
    BatchNorm,
    Deconvolution,
    Normalize,
    Shape,
    Weighted,
)
from model_zoo.network import Network
from runtime.tensors import Array


def blobs_of(network: Network, weights: Mapping[str, Array]) -> Blobs:
    """The blobs of every layer that has any, in the order of the layers."""
    blobs: Blobs = {}
    for layer in network.layers:
        if isinstance(layer, BatchNorm):
            gamma, beta, mean, variance = (weights[name] for name in _batch_norm_names(layer))
            blobs[layer.name] = statistics_blobs(mean, variance)
            blobs[layer.scale] = (gamma, beta)
        elif isinstance(layer, Normalize):
            blobs[layer.name] = (weights[f"{layer.name}/gamma"],)
        elif isinstance(layer, Weighted):
            kernel = np.moveaxis(weights[f"{layer.name}/kernel"], _channel_axes(layer), (0, 1))
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
        elif isinstance(layer, Normalize):
            (weights[f"{layer.name}/gamma"],) = blobs[layer.name]
        elif isinstance(layer, Weighted):
            kernel, *biases = blobs[layer.name]
            kernel = np.moveaxis(kernel, (0, 1), _channel_axes(layer))
            weights[f"{layer.name}/kernel"] = np.ascontiguousarray(kernel)
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
        elif isinstance(layer, Normalize):
            shapes[layer.name] = (tensors[f"{layer.name}/gamma"],)
        elif isinstance(layer, Weighted):
            shape = tensors[f"{layer.name}/kernel"]
            first, second = _channel_axes(layer)
            kernel_shape = (shape[first], shape[second], *shape[:-2])
            shapes[layer.name] = (kernel_shape, *(tensors[name] for name in _bias_names(layer)))
    return shapes


def _batch_norm_names(layer: BatchNorm) -> tuple[str, ...]:
    return tuple(f"{layer.name}/{part}" for part in ("gamma", "beta", "moving_mean", "moving_variance"))


def _bias_names(layer: Weighted) -> tuple[str, ...]:
    return (f"{layer.name}/bias",) if layer.bias else ()


def _channel_axes(layer: Weighted) -> tuple[int, int]:
    """The axes of our kernel that are the first two of Caffe's: outputs and inputs, or the reverse."""
    return (-2, -1) if isinstance(layer, Deconvolution) else (-1, -2)
