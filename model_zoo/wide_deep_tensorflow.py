"""Wide & Deep in TensorFlow: variables, and a function of numbers and ids (MODELS.md 16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_zoo.census import NUMBERS
from model_zoo.wide_deep_network import (
    BIAS,
    COLUMNS,
    DEEP_INPUTS,
    EMBEDDING,
    LAYERS,
    LOGITS,
    UNITS,
    units_of_inputs,
    wide_name,
)
from runtime.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from exporters.tensorflow import TensorFlowSource

Tensor = Any  # TensorFlow ships no types
Weights = Mapping[str, Tensor]

INPUTS = (
    TensorSpec("numbers", "float32", ("batch", len(NUMBERS))),
    TensorSpec("ids", "int32", ("batch", len(COLUMNS))),
)
"""In the order of census.NUMBERS, and in that of wide_deep.COLUMNS."""

OUTPUTS = ("probabilities",)
"""float32 [batch, 2]: of an income up to 50,000 dollars, and above."""


def tensorflow_source(weights: Mapping[str, Array]) -> TensorFlowSource:
    """The network with these weights.

    What is exported reads its numbers in the units of `wide_deep.UNITS`, which is the same to the last bit:
    side by side with gains of 99,999 dollars, ages and ones would all be 0 in INT8 (of the trained network's
    AUC of 0.916 remained 0.758).
    """
    from exporters.tensorflow import TensorFlowSource

    variables = variables_of(weights)

    def function(numbers: Tensor, ids: Tensor) -> tuple[Tensor]:
        return (probabilities(*columns_of(numbers, ids), variables),)

    def convertible(numbers: Tensor, ids: Tensor) -> tuple[Tensor]:
        numbered, ids_by_column = columns_of(numbers * scales(), ids)
        return (probabilities(numbered, ids_by_column, scaled(variables)),)

    return TensorFlowSource(function, INPUTS, OUTPUTS, tuple(variables.values()), convertible=convertible)


def scales() -> Array:
    """[5]: what census.NUMBERS are multiplied with, to be in their units."""
    return np.array([1 / UNITS[name] for name in NUMBERS], np.float32)


def scaled(weights: Weights) -> Weights:
    """The weights that numbers in their units meet."""
    kernel = f"{LAYERS[0]}/kernel"
    return {**weights, kernel: weights[kernel] * units_of_inputs()}


def variables_of(weights: Mapping[str, Array]) -> dict[str, Tensor]:
    """A TensorFlow variable for each of the weights; raises UnavailableError where TensorFlow is missing."""
    from exporters.tensorflow import import_tensorflow

    tensorflow = import_tensorflow()
    return {name: tensorflow.Variable(array, name=name) for name, array in weights.items()}


def columns_of(numbers: Tensor, ids: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The columns of two tables by name: numbers as [batch, 1], ids as [batch]."""
    import tensorflow as tf

    numbered = dict(zip(NUMBERS, tf.split(numbers, len(NUMBERS), axis=1), strict=True))
    return numbered, dict(zip(COLUMNS, tf.unstack(ids, axis=1), strict=True))


def probabilities(numbers: Mapping[str, Tensor], ids: Mapping[str, Tensor], weights: Weights) -> Tensor:
    """float32 [batch, 2]; numbers [batch, 1] by census.NUMBERS, ids [batch] by wide_deep.COLUMNS."""
    import tensorflow as tf

    found = logit(numbers, ids, weights)
    with tf.name_scope("head/"):
        return tf.sigmoid(tf.concat([-found, found], axis=1))


def logit(numbers: Mapping[str, Tensor], ids: Mapping[str, Tensor], weights: Weights) -> Tensor:
    """float32 [batch, 1]: of an income above 50,000 dollars, before the sigmoid."""
    import tensorflow as tf

    wide, deep = _wide(ids, weights), _deep(numbers, ids, weights)
    with tf.name_scope("head/"):
        return wide + deep


def _wide(ids: Mapping[str, Tensor], weights: Weights) -> Tensor:
    import tensorflow as tf

    with tf.name_scope("linear/linear_model/"):
        return tf.add_n([_row(weights[wide_name(c)], ids[c]) for c in COLUMNS]) + weights[BIAS]


def _deep(numbers: Mapping[str, Tensor], ids: Mapping[str, Tensor], weights: Weights) -> Tensor:
    import tensorflow as tf

    with tf.name_scope("dnn/input_from_feature_columns/input_layer/"):
        made = {
            **numbers,
            "occupation_embedding": _row(weights[EMBEDDING], ids["occupation"]),
            **{name: tf.one_hot(ids[name], COLUMNS[name]) for name in DEEP_INPUTS if name in COLUMNS},
        }
        features = tf.concat([made[name] for name in DEEP_INPUTS], axis=1)
    for name in LAYERS:
        features = tf.nn.relu(_dense(features, name, weights), name=f"{name}/Relu")
    return _dense(features, LOGITS, weights)


def _row(table: Tensor, ids: Tensor) -> Tensor:
    """The rows of a table [values, size] as [batch, size]; the number after the last finds zeros."""
    import tensorflow as tf

    return tf.gather(tf.pad(table, [[0, 1], [0, 0]]), ids)


def _dense(x: Tensor, scope: str, weights: Weights) -> Tensor:
    import tensorflow as tf

    with tf.name_scope(f"{scope}/"):
        return tf.matmul(x, weights[f"{scope}/kernel"]) + weights[f"{scope}/bias"]
