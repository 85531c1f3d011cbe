"""What DIN and DIEN are both made of: dense layers, stored normalisation, attention over behaviours.

Shapes are data; the functions build TensorFlow graphs (MODELS.md 14, 15).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_zoo.layers import Shape

Tensor = Any  # TensorFlow ships no types
Tensors = Mapping[str, Tensor]
MASKED = -(2.0**32) + 1
"""The attention score of padding: softmax makes 0 of it, or 1 / steps where there is nothing else."""

NORMALISATION_EPSILON = 1e-3

ATTENTION_UNITS = (80, 40)
"""Sigmoid units of the attention's two hidden layers."""


def dense_shapes(name: str, inputs: int, units: int) -> dict[str, Shape]:
    """Kernel [inputs, units] and bias."""
    return {f"{name}/kernel": (inputs, units), f"{name}/bias": (units,)}


def normalisation_shapes(name: str, features: int) -> dict[str, Shape]:
    """Factor, offset and the statistics of training."""
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    return {f"{name}/{part}": (features,) for part in parts}


def attention_shapes(names: tuple[str, str, str], width: int) -> dict[str, Shape]:
    """The three dense layers over query, key, difference and product, each of `width` features."""
    first, second = ATTENTION_UNITS
    return {
        **dense_shapes(names[0], 4 * width, first),
        **dense_shapes(names[1], first, second),
        **dense_shapes(names[2], second, 1),
    }


def attention_macs(width: int) -> int:
    """Multiply-accumulates of one behaviour's score."""
    first, second = ATTENTION_UNITS
    return 4 * width * first + first * second + second


def dense(x: Tensor, name: str, weights: Tensors) -> Tensor:
    """The product of x and the kernel, plus the bias."""
    import tensorflow as tf

    with tf.name_scope(f"{name}/"):
        return tf.matmul(x, weights[f"{name}/kernel"]) + weights[f"{name}/bias"]


def dense_sigmoid(x: Tensor, name: str, weights: Tensors) -> Tensor:
    """The sigmoid of a dense layer."""
    import tensorflow as tf

    return tf.sigmoid(dense(x, name, weights))


def normalise(x: Tensor, name: str, weights: Tensors) -> Tensor:
    """Batch normalisation by the statistics of training, whatever the batch."""
    import tensorflow as tf

    with tf.name_scope(f"{name}/"):
        deviation = tf.sqrt(weights[f"{name}/moving_variance"] + NORMALISATION_EPSILON)
        factor = weights[f"{name}/gamma"] / deviation
        return x * factor + (weights[f"{name}/beta"] - weights[f"{name}/moving_mean"] * factor)


def attention_scores(queries: Tensor, keys: Tensor, names: tuple[str, str, str], weights: Tensors) -> Tensor:
    """How well each behaviour fits the candidate, [..., 1]; both [..., width], the queries broadcast."""
    import tensorflow as tf

    with tf.name_scope(f"{names[0]}/"):
        queries = tf.broadcast_to(queries, tf.shape(keys))
        compared = tf.concat((queries, keys, queries - keys, queries * keys), axis=-1)
    hidden = dense_sigmoid(compared, names[0], weights)
    return dense(dense_sigmoid(hidden, names[1], weights), names[2], weights)
