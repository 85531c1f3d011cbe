"""How a GNMT says a sentence, in TensorFlow: a loop of steps that takes the likeliest word at each.

(The best of several sentences: `gnmt_beam`.)
"""

from __future__ import annotations

from typing import Any

from model_zoo.gnmt import END, LONGEST, START, Gnmt
from model_zoo.gnmt_tensorflow import Run, State, Weights, encode, step

Tensor = Any  # TensorFlow ships no types


def greedy(network: Gnmt, source: Tensor, length: Tensor, weights: Weights, run: Run) -> tuple[Tensor]:
    """The likeliest word at every step: int32 [batch, target], filled with `</s>` behind a sentence's own.

    Ends where all sentences have, or after LONGEST times the longest source: a trip limit, without which
    TensorRT takes no loop. The reference goes on saying words behind a sentence's end while others are
    longer; whoever reads it cuts them off.
    """
    import tensorflow as tf

    sentence, state = encode(network, source, length, weights, run)
    most, batch = LONGEST * tf.reduce_max(length), tf.shape(source)[0]

    def goes_on(_count: Tensor, _words: Tensor, finished: Tensor, *_: Tensor) -> Tensor:
        return ~tf.reduce_all(finished)

    def say(
        count: Tensor, words: Tensor, finished: Tensor, state: State, said: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, State, Tensor]:
        logits, state = step(network, words, state, sentence, weights)
        words = tf.where(finished, END, tf.argmax(logits, 1, tf.int32))
        return count + 1, words, finished | (words == END), state, said.write(count, words)

    first = (tf.constant(0), tf.fill((batch,), START), tf.fill((batch,), False), state, words_said())
    *_, said = tf.while_loop(goes_on, say, first, maximum_iterations=most)
    return (tf.transpose(said.stack()),)


def words_said(*width: int) -> Tensor:
    """An array of whole numbers [batch, ...] for every step, as many as the loop will do."""
    import tensorflow as tf

    return tf.TensorArray(tf.int32, 0, dynamic_size=True, element_shape=(None, *width))
