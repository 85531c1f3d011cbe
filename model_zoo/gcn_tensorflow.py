"""GCN in TensorFlow, for a batch of networks of papers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model_zoo.gcn_network import FIRST, SECOND, Form, Gcn
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.source import Source

Tensor = Any  # TensorFlow ships no types
Tensors = Mapping[str, Tensor]

OUTPUT = "logits"
"""float32 [batch, papers, classes]."""


def tensorflow_source(network: Gcn, weights: Mapping[str, Array]) -> Source:
    """The network with these weights."""
    from exporters.tensorflow import TensorFlowSource, import_tensorflow

    tensorflow = import_tensorflow()
    variables = {name: tensorflow.Variable(array, name=name) for name, array in weights.items()}

    def function(*inputs: Tensor) -> tuple[Tensor]:
        return (logits(network, inputs, variables),)

    return TensorFlowSource(function, network.inputs(), (OUTPUT,), tuple(variables.values()))


def logits(
    network: Gcn,
    inputs: Sequence[Tensor],
    weights: Tensors,
    dropped: Callable[[Tensor], Tensor] = lambda hidden: hidden,
) -> Tensor:
    """Scores [batch, papers, classes] for the inputs of `network.inputs()`.

    dropped: what training does to the hidden features.
    """
    import tensorflow as tf

    words, links = _words_and_links(network, inputs)
    hidden = dropped(tf.nn.relu(propagate(network, links, project(network, words, weights[FIRST]))))
    return propagate(network, links, tf.matmul(hidden, weights[SECOND]))


def project(network: Gcn, words: Sequence[Tensor], kernel: Tensor) -> Tensor:
    """X W: [batch, papers, hidden]."""
    import tensorflow as tf

    if network.form is not Form.SPARSE:
        return tf.matmul(words[0], kernel)
    places, values = words
    return _added_up(network, places[..., 0], tf.gather(kernel, places[..., 1]), values)


def propagate(network: Gcn, links: Sequence[Tensor], rows: Tensor) -> Tensor:
    """A times `rows`, [batch, papers, features] each."""
    import tensorflow as tf

    if network.form is Form.DENSE:
        return tf.matmul(links[0], rows)
    places, values = links
    sources = tf.reshape(_in_batch(network, places[..., 1]), [-1])
    gathered = tf.gather(tf.reshape(rows, [-1, rows.shape[-1]]), sources)
    return _added_up(network, places[..., 0], gathered, values)


def _added_up(network: Gcn, targets: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """For each paper the sum of the rows, scaled by their values, whose target it is.

    targets, values: [batch, entries].     rows: [batch, entries, features], or flat.
    """
    import tensorflow as tf

    features = rows.shape[-1]
    scaled = tf.reshape(rows, [-1, features]) * tf.reshape(values, [-1, 1])
    nothing = tf.zeros(tf.stack([tf.shape(targets)[0] * network.papers, features]))
    places = tf.reshape(_in_batch(network, targets), [-1, 1])
    return tf.reshape(tf.tensor_scatter_nd_add(nothing, places, scaled), [-1, network.papers, features])


def _in_batch(network: Gcn, papers: Tensor) -> Tensor:
    """Numbers of papers [batch, entries] where the networks of a batch stand one behind the other."""
    import tensorflow as tf

    first = tf.range(tf.shape(papers)[0])[:, tf.newaxis] * network.papers
    return papers + first


def _words_and_links(network: Gcn, inputs: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    number = 2 if network.form is Form.SPARSE else 1
    return inputs[:number], inputs[number:]
