"""Seeded weights of a network that is described as layers (see `seeded_layers`).

A batch normalisation gets the statistics that photographs give. A convolution with a bias does without one,
so the same normalisation is worked into its kernel and bias.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from model_zoo.image_statistics import Channels, Statistics
from model_zoo.layers import BatchNorm, Convolution, Layer, LocalResponse, Network, Scaling
from model_zoo.seeded_layers import Weights, seeded_beta, seeded_classifier, seeded_gamma, seeded_kernel

# Of what a local response normalisation reads. In BVLC's trained networks these are the only activations of
# a pixel's magnitude; nearer to 1 the layer would do nothing, for alpha is small.
_LRN_DEVIATION = 64.0


def seeded_weights(network: Network, statistics: Statistics) -> Weights:
    """All tensors of `network.tensors()`."""
    measured = {
        name: (mean, variance) for name, mean, variance in statistics.of_channels(measured_channels(network))
    }
    seeding = Seeding(network)
    weights = seeded_classifier(network.classifier, network.classes, statistics)
    kernel, shape = f"{network.classifier}/kernel", network.tensors()[f"{network.classifier}/kernel"]
    weights[kernel] = weights[kernel].reshape(shape)
    for layer, _ in network.fed_layers():
        weights |= seeding.drawn(layer)
        if layer.name in measured:
            weights |= seeding.fitted(layer, weights, *measured[layer.name])
    return weights


def measured_channels(network: Network) -> tuple[Channels, ...]:
    """The layers that are fitted to photographs: a normalisation's input, a biased convolution's output."""
    return tuple(
        (layer.name, network.maps[layer.name].channels)
        for layer in network.layers
        if is_measured(network, layer)
    )


def is_measured(network: Network, layer: Layer) -> bool:
    biased = isinstance(layer, Convolution) and layer.bias and layer.name != network.classifier
    return biased or isinstance(layer, BatchNorm)


class Seeding:
    """Draws the tensors of a network's layers, the classifier's aside."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._amplified = _read_by_local_response(network)
        self._deviations = _deviations(network, self._amplified)

    def drawn(self, layer: Layer) -> Weights:
        """What does not depend on data; a measured convolution's kernel is not yet fitted to it."""
        if not isinstance(layer, Convolution) or layer.name == self._network.classifier:
            return {}
        bottom = layer.bottoms[0]
        name, inputs = f"{layer.name}/kernel", self._network.maps[bottom].channels
        kernel = seeded_kernel(name, layer.kernel, inputs, layer.channels)
        return {name: kernel / np.float32(self._deviations[bottom])}

    def fitted(
        self,
        layer: Layer,
        weights: Mapping[str, NDArray[np.float32]],
        mean: NDArray[np.float32],
        variance: NDArray[np.float32],
    ) -> Weights:
        """A measured layer's tensors, given those drawn and what photographs give."""
        gamma = seeded_gamma(f"{layer.name}/gamma", len(mean))
        beta = seeded_beta(f"{layer.name}/beta", len(mean))
        if isinstance(layer, BatchNorm):
            values = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
            return {f"{layer.name}/{part}": array for part, array in values.items()}
        gain = np.float32(_LRN_DEVIATION if layer.name in self._amplified else 1)
        deviation: NDArray[np.float32] = np.sqrt(variance)
        factor = gamma * gain / deviation
        kernel: NDArray[np.float32] = weights[f"{layer.name}/kernel"] * factor
        bias: NDArray[np.float32] = beta * gain - mean * factor
        return {f"{layer.name}/kernel": kernel, f"{layer.name}/bias": bias}


def _read_by_local_response(network: Network) -> frozenset[str]:
    """The convolutions whose outputs reach a local response normalisation."""
    found = set()
    for layer in network.layers:
        if isinstance(layer, LocalResponse):
            source: Layer = layer
            while not isinstance(source, Convolution):
                source = network.named[source.bottoms[0]]
            found.add(source.name)
    return frozenset(found)


def _deviations(network: Network, amplified: frozenset[str]) -> Mapping[str, float]:
    """About how far the values of each layer spread; kernels are drawn for inputs that do so by 1."""
    deviations = {network.input_name: network.input_deviation}
    for layer in network.layers:
        spread = deviations[layer.bottoms[0]]
        if isinstance(layer, Scaling):
            spread /= layer.divisor
        elif isinstance(layer, Convolution | BatchNorm):
            spread = _LRN_DEVIATION if layer.name in amplified else 1.0
        deviations[layer.name] = spread
    return deviations
