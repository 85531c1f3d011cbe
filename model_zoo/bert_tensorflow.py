"""A BERT in TensorFlow: variables, and a function of token numbers that gives logits or an embedding.

Written for what an exporter makes of it. Hidden states stay [batch, tokens, hidden], so that a dense
layer is one MatMul by a matrix and one Add; query, key and value are three of them; layer normalisation is
spelt d * rsqrt(mean(d * d) + epsilon) * gamma + beta, with d = x - mean(x), which a pass recognises.
Operations have the scopes of Google's checkpoint names, so that a profile can be read beside the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from model_zoo.bert_network import EPSILON, MASKED, Bert, Gelu, Head, layer_name
from runtime.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from exporters.source import Source

Tensor = Any  # TensorFlow ships no types
Weights = Mapping[str, Tensor]

INPUTS = ("input_ids", "input_mask", "segment_ids")
"""int32 [batch, tokens]: token numbers; 1 for text, 0 for padding; 0 in the first part, 1 in the second."""

OUTPUTS: Mapping[Head, tuple[str, ...]] = {
    Head.SPAN: ("start_logits", "end_logits"),
    Head.EMBEDDING: ("embedding",),
}
"""Both logits are float32 [batch, tokens]; the embedding is float32 [batch, hidden], of length 1."""


def tensorflow_source(network: Bert, weights: Iterable[tuple[str, Array]]) -> Source:
    """The network with these weights, one at a time, so that a generator need not hold them all.

    Weights that the network does not compute with (the pooler) are counted as parameters and left out of
    the graph.
    """
    from exporters.tensorflow import TensorFlowSource, import_tensorflow

    tensorflow = import_tensorflow()
    variables = {name: tensorflow.Variable(array, name=name) for name, array in weights}
    head = _HEADS[network.head]

    def function(ids: Tensor, mask: Tensor, segments: Tensor) -> tuple[Tensor, ...]:
        states = embed(network, ids, segments, variables)
        return head(encode(network, states, mask, variables), mask, variables)

    shape = ("batch", network.sequence_length)
    return TensorFlowSource(
        function,
        tuple(TensorSpec(name, "int32", shape) for name in INPUTS),
        OUTPUTS[network.head],
        tuple(variables.values()),
    )


def embed(network: Bert, ids: Tensor, segments: Tensor, weights: Weights) -> Tensor:
    """Word, segment and position embeddings together: [batch, tokens, hidden]."""
    import tensorflow as tf

    scope = "bert/embeddings"
    with tf.name_scope(f"{scope}/"):
        words = tf.gather(weights[f"{scope}/word_embeddings"], ids)
        types = tf.gather(weights[f"{scope}/token_type_embeddings"], segments)
        positions = weights[f"{scope}/position_embeddings"][: network.sequence_length]
        summed = words + types + positions
    return normalise(summed, f"{scope}/LayerNorm", weights)


def encode(network: Bert, states: Tensor, mask: Tensor, weights: Weights) -> Tensor:
    """All encoder layers: [batch, tokens, hidden] to the same."""
    import tensorflow as tf

    with tf.name_scope("bert/encoder/"):
        padding = (1.0 - tf.cast(mask, tf.float32)) * MASKED
        padding = tf.reshape(padding, [-1, 1, 1, network.sequence_length])
    for index in range(network.size.layers):
        scope = layer_name(index)
        attended = attend(network, states, padding, f"{scope}/attention/self", weights)
        states = add_and_normalise(states, attended, f"{scope}/attention/output", weights)
        inner = dense(states, f"{scope}/intermediate/dense", weights)
        with tf.name_scope(f"{scope}/intermediate/"):
            inner = tf.nn.gelu(inner, approximate=network.gelu is Gelu.TANH)
        states = add_and_normalise(states, inner, f"{scope}/output", weights)
    return states


def attend(network: Bert, states: Tensor, padding: Tensor, scope: str, weights: Weights) -> Tensor:
    """Self-attention of every head, before its output layer; `padding` is added to the scores."""
    import tensorflow as tf

    size, tokens = network.size, network.sequence_length

    def heads(projection: str, order: list[int]) -> Tensor:
        projected = dense(states, f"{scope}/{projection}", weights)
        with tf.name_scope(f"{scope}/{projection}/"):
            return tf.transpose(tf.reshape(projected, [-1, tokens, size.heads, size.head_size]), order)

    query, value = heads("query", [0, 2, 1, 3]), heads("value", [0, 2, 1, 3])
    key = heads("key", [0, 2, 3, 1])
    with tf.name_scope(f"{scope}/"):
        scores = tf.matmul(query, key) * (1.0 / math.sqrt(size.head_size))
        context = tf.matmul(tf.nn.softmax(scores + padding, axis=-1), value)
        return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, tokens, size.hidden])


def add_and_normalise(states: Tensor, update: Tensor, scope: str, weights: Weights) -> Tensor:
    """The end of both halves of a layer: a dense layer over `update`, onto `states`, normalised."""
    import tensorflow as tf

    update = dense(update, f"{scope}/dense", weights)
    with tf.name_scope(f"{scope}/"):
        summed = states + update
    return normalise(summed, f"{scope}/LayerNorm", weights)


def dense(x: Tensor, scope: str, weights: Weights) -> Tensor:
    """The product of x and the kernel, plus the bias."""
    import tensorflow as tf

    with tf.name_scope(f"{scope}/"):
        return tf.matmul(x, weights[f"{scope}/kernel"]) + weights[f"{scope}/bias"]


def normalise(x: Tensor, scope: str, weights: Weights) -> Tensor:
    """Layer normalisation over the last axis."""
    import tensorflow as tf

    with tf.name_scope(f"{scope}/"):
        deviation = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(deviation), axis=-1, keepdims=True)
        scaled = deviation * tf.math.rsqrt(variance + EPSILON)
        return scaled * weights[f"{scope}/gamma"] + weights[f"{scope}/beta"]


def span_logits(states: Tensor, mask: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """How well the answer might start and end at each token; padding too has logits, as in Google's code."""
    import tensorflow as tf

    with tf.name_scope("cls/squad/"):
        kernel = tf.transpose(weights["cls/squad/output_weights"])
        logits = tf.matmul(states, kernel) + weights["cls/squad/output_bias"]
        start, end = tf.unstack(logits, axis=-1)
    return start, end


def sentence_embedding(states: Tensor, mask: Tensor, weights: Weights) -> tuple[Tensor]:
    """The mean state of all tokens but padding, scaled to length 1 (sentence-transformers' pooling)."""
    import tensorflow as tf

    kept = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
    total = tf.reduce_sum(states * kept, axis=1)
    mean = total / tf.maximum(tf.reduce_sum(kept, axis=1), 1.0)
    return (tf.math.l2_normalize(mean, axis=-1),)


_HEADS: Mapping[Head, Callable[[Tensor, Tensor, Weights], tuple[Tensor, ...]]] = {
    Head.SPAN: span_logits,
    Head.EMBEDDING: sentence_embedding,
}
