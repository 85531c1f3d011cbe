"""DIN in TensorFlow: variables, and functions of histories and candidates that give scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_zoo.behaviour import Ids
from model_zoo.behaviour_layers import (
    MASKED,
    Tensor,
    Tensors,
    attention_scores,
    dense,
    dense_sigmoid,
    normalise,
)
from model_zoo.din_network import ATTENTION, INPUTS, OUTPUTS, TAIL, Candidates, Din
from runtime.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from exporters.source import Source


def tensorflow_source(network: Din, categories: Ids, weights: Iterable[tuple[str, Array]]) -> Source:
    """The network with these weights, one at a time, and `categories` of all items.

    The users' table is counted as parameters and left out of the graph.
    """
    from exporters.tensorflow import TensorFlowSource, import_tensorflow, shared_variable

    tensorflow = import_tensorflow()
    variables = {name: shared_variable(name, array) for name, array in weights}

    def function(*inputs: Tensor) -> tuple[Tensor]:
        return (tensorflow.sigmoid(logits(network, categories, variables, inputs)),)

    return TensorFlowSource(
        function,
        inputs_of(network),
        (OUTPUTS[network.candidates],),
        tuple(variables.values()),
    )


def inputs_of(network: Din) -> tuple[TensorSpec, ...]:
    """Histories, their lengths, then the candidates, then the user, where these are read."""
    single = ("sl", *INPUTS[network.candidates], *(("u",) if network.user_read else ()))
    history = TensorSpec("hist_i", "int32", ("batch", "history"))
    return (history, *(TensorSpec(name, "int32", ("batch",)) for name in single))


def logits(network: Din, categories: Ids, weights: Tensors, inputs: Sequence[Tensor]) -> Tensor:
    """Of each candidate, [batch, candidates], or [batch, 1, 1] where it is the table's first item.

    categories: that of each item, a constant of the graph.     inputs: in the order of `inputs_of`.
    """
    import tensorflow as tf

    history, lengths, *rest = inputs
    candidates = rest[: len(INPUTS[network.candidates])]
    if network.candidates is Candidates.FIRST:
        candidates = [tf.zeros(1, tf.int32)]
    items = [_item(candidate, categories, weights) for candidate in candidates]
    user = _user(network, items[0], _item(history, categories, weights), lengths, weights)
    if network.user_read:
        user += tf.gather(weights["user_emb_w"], rest[-1])
    found = [
        _score(user, item, tf.gather(weights["item_b"], candidate), weights)
        for item, candidate in zip(items, candidates, strict=True)
    ]
    if network.candidates is Candidates.FIRST:
        return found[0][:, tf.newaxis]
    return tf.concat(found, axis=1) if len(found) > 1 else found[0]


def _item(ids: Tensor, categories: Ids, weights: Tensors) -> Tensor:
    """[..., width]: embeddings of the items and their categories."""
    import tensorflow as tf

    own = tf.gather(weights["item_emb_w"], ids)
    return tf.concat((own, tf.gather(weights["cate_emb_w"], tf.gather(categories, ids))), axis=-1)


def _user(network: Din, query: Tensor, keys: Tensor, lengths: Tensor, weights: Tensors) -> Tensor:
    """[batch, width]: the history as it bears on the candidate; a mean over the padding where it is empty."""
    import tensorflow as tf

    scores = attention_scores(query[:, tf.newaxis], keys, ATTENTION, weights)
    with tf.name_scope("attention/"):
        valid = tf.range(tf.shape(keys)[1]) < lengths[:, tf.newaxis]
        scores = tf.where(valid, tf.squeeze(scores, 2), np.float32(MASKED)) / np.float32(
            math.sqrt(network.width)
        )
        attention = tf.nn.softmax(scores)[:, tf.newaxis]
        user = tf.squeeze(tf.matmul(attention, keys), 1)
    return dense(normalise(user, network.history_norm, weights), "hist_fcn", weights)


def _score(user: Tensor, item: Tensor, bias: Tensor, weights: Tensors) -> Tensor:
    """[batch, 1]: the logit of one candidate."""
    import tensorflow as tf

    item = tf.broadcast_to(item, tf.shape(user))
    hidden = normalise(tf.concat((user, item), axis=-1), "b1", weights)
    for name in TAIL[:2]:
        hidden = dense_sigmoid(hidden, name, weights)
    return dense(hidden, TAIL[2], weights) + bias[:, tf.newaxis]
