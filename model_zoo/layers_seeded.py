"""Seeded weights of a network that is described as layers (see `seeded_layers`).

A batch normalisation gets the statistics that photographs give. A convolution with a bias does without one,
so the same normalisation is worked into its kernel and bias.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from model_zoo.image_statistics import Channels, Statistics
from model_zoo.layers import (
    BatchNorm,
    Convolution,
    Eltwise,
    InnerProduct,
    Layer,
    LocalResponse,
    Normalize,
    Scaling,
    Weighted,
)
from model_zoo.network import (
    Head,
    Network,
)
from model_zoo.seeded_layers import (
    Weights,
    seeded_beta,
    seeded_branch_gamma,
    seeded_classifier,
    seeded_gamma,
    seeded_kernel,
)

# Of what a local response normalisation reads. In BVLC's trained networks these are the only activations of
# a pixel's magnitude; nearer to 1 the layer would do nothing, for alpha is small.
_LRN_DEVIATION = 64.0

_NORMALIZE_GAMMA = 20.0
"""What SSD's training starts from, and does not leave by far (Liu et al. 2015)."""


def seeded_weights(network: Network, statistics: Statistics) -> Weights:
    """All tensors of `network.tensors()`."""
    measured = {
        name: (mean, variance) for name, mean, variance in statistics.of_channels(measured_channels(network))
    }
    seeding = Seeding(network)
    weights = _seeded_classifier(network, statistics) if network.classifier else {}
    for layer, _ in network.fed_layers():
        weights |= seeding.drawn(layer)
        if layer.name in measured:
            weights |= seeding.fitted(layer, weights, *measured[layer.name])
    return weights


def _seeded_classifier(network: Network, statistics: Statistics) -> Weights:
    weights = seeded_classifier(network.classifier, network.classes, statistics)
    kernel, shape = f"{network.classifier}/kernel", network.tensors()[f"{network.classifier}/kernel"]
    weights[kernel] = weights[kernel].reshape(shape)
    return weights


def measured_channels(network: Network) -> tuple[Channels, ...]:
    """The layers that are fitted to photographs: a normalisation's input, a biased convolution's output.

    (Of convolutions that share a kernel the first.)
    """
    return tuple(
        (layer.name, network.maps[layer.name].channels)
        for layer in network.layers
        if is_measured(network, layer)
    )


def is_measured(network: Network, layer: Layer) -> bool:
    own = layer.owner == layer.name
    biased = isinstance(layer, Weighted) and layer.bias and own and layer.name != network.classifier
    return biased or isinstance(layer, BatchNorm)


class Seeding:
    """Draws the tensors of a network's layers, the classifier's aside."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._amplified = _read_by_local_response(network)
        self._branch_ends = _branch_ends(network)
        self._deviations = _deviations(network, self._amplified)

    def drawn(self, layer: Layer) -> Weights:
        """What does not depend on data; a measured convolution's kernel is not yet fitted to it."""
        bottom = layer.bottoms[0]
        of = self._network.maps[bottom]
        if isinstance(layer, Normalize):
            name = f"{layer.name}/gamma"
            return {name: seeded_gamma(name, of.channels) * np.float32(_NORMALIZE_GAMMA)}
        if not isinstance(layer, Weighted) or not layer.tensors(of) or layer.name == self._network.classifier:
            return {}
        name, deviation = f"{layer.name}/kernel", np.float32(self._deviations[bottom])
        if isinstance(layer, InnerProduct):
            return {name: seeded_kernel(name, 1, of.values, layer.channels)[0, 0] / deviation}
        kernel = seeded_kernel(name, layer.kernel, of.channels, layer.channels) / deviation
        if self._network.reversed_channels and bottom == self._network.input_name:
            kernel = np.ascontiguousarray(kernel[:, :, ::-1])
        return {name: kernel}

    def fitted(
        self,
        layer: Layer,
        weights: Mapping[str, NDArray[np.float32]],
        mean: NDArray[np.float32],
        variance: NDArray[np.float32],
    ) -> Weights:
        """A measured layer's tensors, given those drawn and what photographs give."""
        head = self._network.heads.get(layer.name)
        gamma, beta = (
            self._spread(layer.name, len(mean)) if head is None else _of_head(layer.name, head, len(mean))
        )
        if isinstance(layer, BatchNorm):
            values = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
            return {f"{layer.name}/{part}": array for part, array in values.items()}
        gain = np.float32(_LRN_DEVIATION if layer.name in self._amplified else 1)
        deviation: NDArray[np.float32] = np.sqrt(variance)
        factor = gamma * gain / deviation
        kernel: NDArray[np.float32] = weights[f"{layer.name}/kernel"] * factor
        bias: NDArray[np.float32] = beta * gain - mean * factor
        return {f"{layer.name}/kernel": kernel, f"{layer.name}/bias": bias}

    def _spread(self, name: str, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        make = seeded_branch_gamma if name in self._branch_ends else seeded_gamma
        return make(f"{name}/gamma", channels), seeded_beta(f"{name}/beta", channels)


def _of_head(name: str, head: Head, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How far the scores or offsets of each channel spread, and around what."""
    deviation = np.float32(head.deviation)
    beta = seeded_beta(f"{name}/beta", channels) * deviation
    beta[list(head.background_channels)] += np.float32(head.background)
    return seeded_gamma(f"{name}/gamma", channels) * deviation, beta


def _branch_ends(network: Network) -> frozenset[str]:
    """The normalisations whose output is added to a shortcut: of a sum's bottoms the second."""
    return frozenset(
        layer.bottoms[1]
        for layer in network.layers
        if isinstance(layer, Eltwise) and layer.operation == "SUM"
    )


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
    deviations = {network.input_name: network.input_deviation, **dict.fromkeys(network.side_inputs, 1.0)}
    for layer in network.layers:
        spread = deviations[layer.bottoms[0]]
        if isinstance(layer, Scaling):
            spread /= layer.divisor
        elif isinstance(layer, Weighted | BatchNorm | Normalize):
            spread = _LRN_DEVIATION if layer.name in amplified else 1.0
        deviations[layer.name] = spread
    return deviations
