"""Batch normalisation while a network learns: by the batch's own statistics, which the stored ones follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_zoo.layers import BatchNorm, Layer

Tensor = Any  # TensorFlow ships no types

_KEPT = 0.95
"""Of the stored statistics at each step: they are means over about twenty batches."""


def normalised(name: str, x: Tensor, weights: Mapping[str, Tensor], epsilon: float) -> Tensor:
    """`x` [.., channels] normalised by what is in it; moves `<name>/moving_mean` and `/moving_variance`."""
    import tensorflow as tf

    result, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        x,
        weights[f"{name}/gamma"],
        weights[f"{name}/beta"],
        epsilon=epsilon,
        is_training=True,
        name=name,
    )
    for part, found in (("moving_mean", mean), ("moving_variance", variance)):
        stored = weights[f"{name}/{part}"]
        stored.assign_sub((1 - _KEPT) * (stored - tf.stop_gradient(found)))
    return result


def _layer(layer: BatchNorm, bottoms: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return normalised(layer.name, bottoms[0], weights, layer.epsilon)


LEARNING: Mapping[type[Layer], Callable[[Any, Sequence[Tensor], Mapping[str, Tensor]], Tensor]] = {
    BatchNorm: _layer
}
"""Stands in for the operation that `layers_tensorflow` has for a normalisation."""
