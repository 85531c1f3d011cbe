"""DIEN in TensorFlow: variables, and a function of a user, an item and a history that gives probabilities.

Histories are [steps, batch, ...] throughout, as recurrences read them: only numbers of items are transposed,
at the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from model_zoo.behaviour_layers import (
    MASKED,
    Tensor,
    Tensors,
    attention_scores,
    dense,
    dense_sigmoid,
    normalise,
)
from model_zoo.dien_network import ATTENTION, AUXILIARY_OUTPUTS, NOT_CLICKED, OUTPUT, Dien
from model_zoo.dien_recurrence import AS_OPERATORS, AS_STEPS, Recurrences
from runtime.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from exporters.source import Source

EPSILON = 1e-9
"""Of Dice: added to the variance, and to its root, as in the reference."""

_FLOOR = 1e-8
"""Added to every probability."""

_HISTORY = ("batch", "history")

INPUTS = (
    TensorSpec("uid", "int32", ("batch",)),
    TensorSpec("mid", "int32", ("batch",)),
    TensorSpec("cat", "int32", ("batch",)),
    TensorSpec("mid_his", "int32", _HISTORY),
    TensorSpec("cat_his", "int32", _HISTORY),
    TensorSpec("mask", "float32", _HISTORY),
    TensorSpec("seq_len", "int32", ("batch",)),
)
"""User, item, category; items and categories of the history; 1 for its items, 0 for padding; its length."""

AUXILIARY_INPUTS = tuple(
    TensorSpec(name, "int32", (*_HISTORY, NOT_CLICKED)) for name in ("noclk_mid", "noclk_cat")
)
"""Of each step: items that were not clicked, and their categories."""


def tensorflow_source(network: Dien, weights: Mapping[str, Array]) -> Source:
    """The network with these weights."""
    from exporters.tensorflow import TensorFlowSource, import_tensorflow

    tensorflow = import_tensorflow()
    variables = {name: tensorflow.Variable(array, name=name) for name, array in weights.items()}
    trace = partial(probabilities, network, variables)
    return TensorFlowSource(
        partial(trace, AS_STEPS),
        INPUTS + (AUXILIARY_INPUTS if network.auxiliary else ()),
        (OUTPUT, *(AUXILIARY_OUTPUTS if network.auxiliary else ())),
        tuple(variables.values()),
        convertible=partial(trace, AS_OPERATORS),
    )


def probabilities(
    network: Dien, weights: Tensors, recurrences: Recurrences, *inputs: Tensor
) -> tuple[Tensor, ...]:
    """The outputs for tensors in the order of INPUTS and, with the auxiliary net, AUXILIARY_INPUTS."""
    import tensorflow as tf

    history, states = _history(weights, recurrences, Read(*inputs[: len(INPUTS)]))
    found = _logits(weights, recurrences, Read(*inputs[: len(INPUTS)]), history, states)
    y_hat = tf.nn.softmax(found) + np.float32(_FLOOR)
    if not network.auxiliary:
        return (y_hat,)
    items, categories = (tf.transpose(ids[:, 1:, 0]) for ids in inputs[len(INPUTS) :])
    others = _items(items, categories, weights)
    return (y_hat, *(_follows(states[:-1], items, weights) for items in (history[1:], others)))


def logits(weights: Tensors, recurrences: Recurrences, inputs: Sequence[Tensor]) -> Tensor:
    """[batch, 2]: for a click, and for none; `inputs` in the order of INPUTS."""
    read = Read(*inputs)
    return _logits(weights, recurrences, read, *_history(weights, recurrences, read))


@dataclass(frozen=True)
class Read:
    """The inputs, in the order of INPUTS."""

    user: Tensor
    item: Tensor
    category: Tensor
    items_before: Tensor
    categories_before: Tensor
    mask: Tensor
    lengths: Tensor


def _history(weights: Tensors, recurrences: Recurrences, read: Read) -> tuple[Tensor, Tensor]:
    """Embeddings and states of the first recurrence, [steps, batch, width] both."""
    import tensorflow as tf

    history = _items(tf.transpose(read.items_before), tf.transpose(read.categories_before), weights)
    return history, recurrences.gru(history, read.lengths, "gru1", weights)


def _logits(
    weights: Tensors, recurrences: Recurrences, read: Read, history: Tensor, states: Tensor
) -> Tensor:
    import tensorflow as tf

    item = _items(read.item, read.category, weights)
    attention = _attention(item, states, tf.transpose(read.mask), weights)
    last = recurrences.attention_gru(states, attention, read.lengths, "gru2", weights)
    summed = tf.reduce_sum(history, axis=0)  # padding too
    user = tf.gather(weights["uid_embedding_var"], read.user)
    hidden = normalise(tf.concat((user, item, summed, item * summed, last), axis=-1), "bn1", weights)
    for layer in ("1", "2"):
        hidden = dice(dense(hidden, f"f{layer}", weights), f"dice_{layer}", weights)
    return dense(hidden, "f3", weights)


def dice(x: Tensor, name: str, weights: Tensors) -> Tensor:
    """[batch, units]: as it is where it is large for its batch, `alpha` of it where it is small."""
    import tensorflow as tf

    with tf.name_scope(f"{name}/"):
        distance = x - tf.reduce_mean(x, axis=0, keepdims=True)
        variance = tf.reduce_mean(tf.square(distance), axis=0, keepdims=True)
        large = tf.sigmoid(distance / (tf.sqrt(variance + EPSILON) + EPSILON))
        alpha = weights[f"{name}/alpha"]
        return x * (alpha + (1.0 - alpha) * large)


def _items(items: Tensor, categories: Tensor, weights: Tensors) -> Tensor:
    """[..., width]."""
    import tensorflow as tf

    own = tf.gather(weights["mid_embedding_var"], items)
    return tf.concat((own, tf.gather(weights["cat_embedding_var"], categories)), axis=-1)


def _attention(item: Tensor, states: Tensor, mask: Tensor, weights: Tensors) -> Tensor:
    """[steps, batch, 1]: shares of the states that are no padding, or equal ones where all are."""
    import tensorflow as tf

    query = dense(item, "attention/query", weights)
    with tf.name_scope("attention/"):
        query = tf.maximum(query, 0.0) + weights["attention/query/alpha"] * tf.minimum(query, 0.0)
    scores = attention_scores(query[tf.newaxis], states, ATTENTION, weights)
    with tf.name_scope("attention/"):
        valid = tf.equal(mask, 1.0)[..., tf.newaxis]
        return tf.nn.softmax(tf.where(valid, scores, np.float32(MASKED)), axis=0)


def _follows(states: Tensor, items: Tensor, weights: Tensors) -> Tensor:
    """[batch, steps]: how likely the auxiliary net takes each item to come after each state."""
    import tensorflow as tf

    hidden = normalise(tf.concat((states, items), axis=-1), "bn1gru", weights)
    for name in ("f1gru", "f2gru"):
        hidden = dense_sigmoid(hidden, name, weights)
    both = tf.nn.softmax(dense(hidden, "f3gru", weights)) + np.float32(_FLOOR)
    return tf.transpose(both[..., 0])
