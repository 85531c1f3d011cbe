"""A ResNet's weights as the blobs of its Caffe layers, and back.

The weights are those of `resnet`: kernels for RGB of -1..1, statistics for TensorFlow's epsilon, conv1
without a bias. The Caffe network wants BGR of 0..255 (minus a mean), has another epsilon, and its
statistics carry a factor. Both sides compute the same function of the same centred pixels; a mean other
than 127.5 is another preprocessing, which weights cannot make up for at the zero-padded border.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from model_zoo.caffe_files import Blobs, statistics_blobs, statistics_from
from model_zoo.resnet import BATCH_NORM_EPSILON, CLASSIFIER, Convolution, ResNet
from runtime.tensors import Array

CAFFE_EPSILON = 1e-5
"""BatchNorm's default; the authors' prototxts do not set another."""

INPUT_SCALE = np.float32(127.5)
"""TensorFlow's network divides pixels by it, Caffe's leaves that to conv1."""

_EPSILON_GAP = np.float32(BATCH_NORM_EPSILON - CAFFE_EPSILON)


def blobs_of(network: ResNet, weights: Mapping[str, Array]) -> Blobs:
    """The blobs of every layer that has any, in the order of the layers."""
    blobs: Blobs = {}
    for part in network.convolutions:
        bias = _bias(part, weights)
        blobs[part.name] = (_caffe_kernel(network, part, weights), *([bias] if part.bias else []))
        blobs[part.batch_norm] = _caffe_statistics(part, weights, bias)
        blobs[part.scale] = (weights[f"{part.batch_norm}/gamma"], weights[f"{part.batch_norm}/beta"])
    blobs[CLASSIFIER] = (weights[f"{CLASSIFIER}/kernel"].T, weights[f"{CLASSIFIER}/bias"])
    return blobs


def weights_from(network: ResNet, blobs: Mapping[str, tuple[Array, ...]]) -> dict[str, Array]:
    """The inverse of `blobs_of`, up to float32's rounding."""
    weights: dict[str, Array] = {}
    for part in network.convolutions:
        kernel, *biases = blobs[part.name]
        kernel = kernel.transpose(2, 3, 1, 0)
        if part is network.stem:
            kernel = kernel[:, :, ::-1] * INPUT_SCALE
        weights[f"{part.name}/kernel"] = np.ascontiguousarray(kernel)
        weights |= {f"{part.name}/bias": bias for bias in biases}
        mean, variance = statistics_from(*blobs[part.batch_norm])
        weights[f"{part.batch_norm}/moving_mean"] = mean - _bias(part, weights)
        weights[f"{part.batch_norm}/moving_variance"] = variance - _EPSILON_GAP
        weights[f"{part.batch_norm}/gamma"], weights[f"{part.batch_norm}/beta"] = blobs[part.scale]
    kernel, weights[f"{CLASSIFIER}/bias"] = blobs[CLASSIFIER]
    weights[f"{CLASSIFIER}/kernel"] = np.ascontiguousarray(kernel.T)
    return weights


def blob_shapes(network: ResNet) -> dict[str, tuple[tuple[int, ...], ...]]:
    """What `weights_from` wants: layer name to the shapes of its blobs."""
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {}
    for part in network.convolutions:
        channels = (part.output_channels,)
        kernel = (*channels, part.input_channels, part.kernel, part.kernel)
        shapes[part.name] = (kernel, channels) if part.bias else (kernel,)
        shapes[part.batch_norm] = (channels, channels, (1,))
        shapes[part.scale] = (channels, channels)
    shapes[CLASSIFIER] = ((network.classes, network.features), (network.classes,))
    return shapes


def _caffe_kernel(network: ResNet, part: Convolution, weights: Mapping[str, Array]) -> NDArray[np.float32]:
    kernel = weights[f"{part.name}/kernel"]
    if part is network.stem:
        kernel = kernel[:, :, ::-1] / INPUT_SCALE
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


def _caffe_statistics(
    part: Convolution, weights: Mapping[str, Array], bias: NDArray[np.float32]
) -> tuple[NDArray[np.float32], ...]:
    """Mean, variance and factor.

    A bias in front of a normalisation moves the mean along with it, and so changes nothing.
    """
    mean = weights[f"{part.batch_norm}/moving_mean"] + bias
    variance = weights[f"{part.batch_norm}/moving_variance"] + _EPSILON_GAP
    return statistics_blobs(mean, variance)


def _bias(part: Convolution, weights: Mapping[str, Array]) -> NDArray[np.float32]:
    """Zero where there is none: weights that come from TensorFlow have none."""
    absent = np.zeros(part.output_channels, np.float32)
    bias: NDArray[np.float32] = weights.get(f"{part.name}/bias", absent)
    return bias
