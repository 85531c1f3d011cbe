"""A GNMT in TensorFlow: the encoder of a sentence, and one step of the decoder.

Cells are written by hand, a product of inputs and state by the kernel, so that a step is made of MatMuls
that can be quantised. How a cell is run over a sentence is a parameter (`Run`): a loop is TensorFlow's own
way and the oracle; ONNX has an operator for it (`as_operators`); training writes the steps out.

Sequences are [words, batch, ...] inside the encoder, as LSTM's are in ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_zoo.gnmt import (
    ATTENTION,
    BACKWARD,
    FIRST_RESIDUAL,
    FORGET_BIAS,
    FORWARD,
    MEMORY_LAYER,
    PROJECTION,
    SOURCE_EMBEDDING,
    TARGET_EMBEDDING,
    Gnmt,
    decoder_scope,
    encoder_scope,
)

_ONNX_ORDER = (0, 3, 2, 1)
"""Where ONNX's gates, input, output, forget and candidate, lie in TensorFlow's."""

_DIRECTION = f"{ATTENTION}/direction"
"""[units, 1]: what the attention's comparisons are weighted with, g v / ||v||."""

Tensor = Any  # TensorFlow ships no types
Weights = Mapping[str, Tensor]

Cell = tuple[Tensor, Tensor]
"""A cell's state: what it says (h) and what it keeps (c), both [batch, units]."""

Run = Callable[[Tensor, Tensor, Sequence[str], Weights], tuple[Tensor, list[Cell]]]
"""Runs the cells of one or two scopes over a sequence, the second from its end.

From the sequence [words, batch, inputs], lengths [batch] and scopes to what the cells say side by side,
[words, batch, scopes x units], zero behind a sentence's end, and to each one's state behind its last word.
"""


@dataclass(frozen=True)
class Sentence:
    """What the attention looks at.

    memory: what the encoder says of every word, and `keys`, the same as the attention compares it; both
            [batch, words, units].
    length: words that are no padding, int32 [batch].
    """

    memory: Tensor
    keys: Tensor
    length: Tensor


State = tuple[tuple[Cell, ...], Tensor]
"""The decoder's: the cells of all layers, and the attention's last answer [batch, units]."""


def read(variables: Weights) -> Weights:
    """The values of variables, and what follows from them alone.

    Read once and before any loop: a loop captures tensors, while variables in its body are not converted.
    """
    import tensorflow as tf

    values = {name: tf.convert_to_tensor(variable) for name, variable in variables.items()}
    vector = values[f"{ATTENTION}/attention_v"]
    direction = values[f"{ATTENTION}/attention_g"] * vector / tf.sqrt(tf.reduce_sum(tf.square(vector)))
    return {**values, _DIRECTION: direction[:, tf.newaxis]}


def encode(
    network: Gnmt, source: Tensor, length: Tensor, weights: Weights, run: Run
) -> tuple[Sentence, State]:
    """Read sentences int32 [batch, words]; what the decoder's attention sees, and its first state."""
    import tensorflow as tf

    below = tf.gather(weights[SOURCE_EMBEDDING], tf.transpose(source))
    below, (_, first) = run(below, length, (FORWARD, BACKWARD), weights)
    cells = [first]
    for layer in range(1, network.layers):
        said, (last,) = run(below, length, (encoder_scope(layer),), weights)
        below = said + below if layer >= FIRST_RESIDUAL else said
        cells.append(last)
    memory = tf.transpose(below, (1, 0, 2))
    keys = tf.matmul(memory, weights[MEMORY_LAYER])
    return Sentence(memory, keys, length), (tuple(cells), tf.zeros_like(first[0]))


def step(
    network: Gnmt, words: Tensor, state: State, sentence: Sentence, weights: Weights
) -> tuple[Tensor, State]:
    """From the last words, int32 [batch], to logits [batch, vocabulary] of the next, and the new state."""
    import tensorflow as tf

    cells, attention = state
    word = tf.gather(weights[TARGET_EMBEDDING], words)
    below, kept = lstm_cell(tf.concat([word, attention], 1), cells[0], decoder_scope(0), weights)
    new = [(below, kept)]
    attention = attend(below, sentence, weights)
    for layer in range(1, network.layers):
        inputs = tf.concat([below, attention], 1)
        said, kept = lstm_cell(inputs, cells[layer], decoder_scope(layer), weights)
        new.append((said, kept))
        below = said + below if layer >= FIRST_RESIDUAL else said
    return tf.matmul(below, weights[PROJECTION]), (tuple(new), attention)


def lstm_cell(inputs: Tensor, state: Cell, scope: str, weights: Weights) -> Cell:
    """One step of TensorFlow 1's BasicLSTMCell, over inputs [batch, inputs]."""
    import tensorflow as tf

    said, kept = state
    with tf.name_scope(f"{scope}/"):
        gates = tf.matmul(tf.concat([inputs, said], 1), weights[f"{scope}/kernel"])
        enter, candidate, forget, leave = tf.split(gates + weights[f"{scope}/bias"], 4, axis=1)
        kept = tf.sigmoid(forget + FORGET_BIAS) * kept + tf.sigmoid(enter) * tf.tanh(candidate)
        return tf.sigmoid(leave) * tf.tanh(kept), kept


def attend(query: Tensor, sentence: Sentence, weights: Weights) -> Tensor:
    """Normalised Bahdanau attention: the mean of the memory, weighted by how well its keys suit the query."""
    import tensorflow as tf

    with tf.name_scope(f"{ATTENTION}/"):
        asked = tf.matmul(query, weights[f"{ATTENTION}/query_layer/kernel"])
        asked = (asked + weights[f"{ATTENTION}/attention_b"])[:, tf.newaxis]
        scores = tf.squeeze(tf.matmul(tf.tanh(sentence.keys + asked), weights[_DIRECTION]), 2)
        inside = tf.range(tf.shape(scores)[1]) < sentence.length[:, tf.newaxis]
        shares = tf.nn.softmax(tf.where(inside, scores, float("-inf")))
        return tf.squeeze(tf.matmul(shares[:, tf.newaxis], sentence.memory), 1)


def looped(
    sequence: Tensor, length: Tensor, scopes: Sequence[str], weights: Weights
) -> tuple[Tensor, list[Cell]]:
    """A Run as TensorFlow does it: a loop over the words, whatever their number."""
    import tensorflow as tf

    def one(scope: str, *, backward: bool) -> tuple[Tensor, Cell]:
        words, zero = tf.shape(sequence)[0], _zero_state(sequence, scope, weights)
        said = tf.TensorArray(tf.float32, words, element_shape=zero.shape)

        def word(count: Tensor, said: Tensor, state: Cell) -> tuple[Tensor, Tensor, Cell]:
            place = words - 1 - count if backward else count
            out, state = _masked_step(sequence[place], place < length, state, scope, weights)
            return count + 1, said.write(place, out), state

        first = (tf.constant(0), said, (zero, zero))
        _, said, state = tf.while_loop(lambda count, *_: count < words, word, first)
        return said.stack(), state

    return _side_by_side([one(scope, backward=index == 1) for index, scope in enumerate(scopes)])


def unrolled(
    sequence: Tensor, length: Tensor, scopes: Sequence[str], weights: Weights
) -> tuple[Tensor, list[Cell]]:
    """A Run whose steps are written out: for sequences of a known number of words, and for training."""
    import tensorflow as tf

    def one(scope: str, *, backward: bool) -> tuple[Tensor, Cell]:
        zero = _zero_state(sequence, scope, weights)
        state, said = (zero, zero), {}
        words = range(sequence.shape[0])
        for place in reversed(words) if backward else words:
            said[place], state = _masked_step(sequence[place], place < length, state, scope, weights)
        return tf.stack([said[place] for place in words]), state

    return _side_by_side([one(scope, backward=index == 1) for index, scope in enumerate(scopes)])


def as_operators(
    sequence: Tensor, length: Tensor, scopes: Sequence[str], weights: Weights
) -> tuple[Tensor, list[Cell]]:
    """A Run as one LSTM of ONNX's, which is never computed by TensorFlow."""
    import tensorflow as tf

    from exporters.tensorflow_marked import onnx_operator

    units, directions = _units(scopes[0], weights), len(scopes)
    parts = [_onnx_weights(weights[f"{scope}/kernel"], weights[f"{scope}/bias"]) for scope in scopes]
    words, batch, _ = sequence.shape
    outputs, said, kept = onnx_operator(
        "LSTM",
        [sequence, *(tf.stack(part) for part in zip(*parts, strict=True)), length],
        [(words, directions, batch, units), *[(directions, batch, units)] * 2],
        {"hidden_size": units} | ({"direction": "bidirectional"} if directions == 2 else {}),
    )
    states = [(said[index], kept[index]) for index in range(directions)]
    if directions == 1:
        return tf.squeeze(outputs, 1), states
    shape = tf.shape(sequence)
    beside = tf.transpose(outputs, (0, 2, 1, 3))
    return tf.reshape(beside, (shape[0], shape[1], directions * units)), states


def _masked_step(
    inputs: Tensor, inside: Tensor, state: Cell, scope: str, weights: Weights
) -> tuple[Tensor, Cell]:
    """A step where `inside` [batch]; elsewhere the state stays and nothing is said."""
    import tensorflow as tf

    new = lstm_cell(inputs, state, scope, weights)
    inside = inside[:, tf.newaxis]
    said, kept = (tf.where(inside, after, before) for after, before in zip(new, state, strict=True))
    return tf.where(inside, new[0], 0.0), (said, kept)


def _side_by_side(directions: Sequence[tuple[Tensor, Cell]]) -> tuple[Tensor, list[Cell]]:
    import tensorflow as tf

    said, states = zip(*directions, strict=True)
    return tf.concat(said, 2), list(states)


def _zero_state(sequence: Tensor, scope: str, weights: Weights) -> Tensor:
    import tensorflow as tf

    return tf.zeros((tf.shape(sequence)[1], _units(scope, weights)))


def _units(scope: str, weights: Weights) -> int:
    return int(weights[f"{scope}/bias"].shape[0]) // 4


def _onnx_weights(kernel: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W [4 units, inputs], R [4 units, units] and B [8 units], with gates in ONNX's order."""
    import tensorflow as tf

    units = int(bias.shape[0]) // 4
    forget = np.array([[0], [0], [FORGET_BIAS], [0]], np.float32)
    rows = tf.transpose(_in_onnx_order(kernel))
    biases = tf.reshape(tf.reshape(bias, (4, units)) + forget, (1, -1))
    biases = tf.reshape(_in_onnx_order(biases), (-1,))
    return rows[:, :-units], rows[:, -units:], tf.pad(biases, [[0, 4 * units]])


def _in_onnx_order(matrix: Tensor) -> Tensor:
    """The last axis, 4 gates x units, as input, output, forget, candidate."""
    import tensorflow as tf

    rows, columns = matrix.shape
    return tf.reshape(tf.gather(tf.reshape(matrix, (rows, 4, -1)), _ONNX_ORDER, axis=1), (rows, columns))
