"""How a GNMT says a sentence, in TensorFlow: a search for the best of several, as BeamSearchDecoder does it.

That is TensorFlow 1's (contrib.seq2seq), and these are its rules: at first there is one beam; a finished one
goes on with `</s>` alone, at no cost; a candidate's length leaves its own `</s>` out while candidates are
compared, and counts it from then on. So the score of a sentence that ends in the last step of its batch is
the one without it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from model_zoo.gnmt import END, LENGTH_OFFSET, LONGEST, START, Beam, Gnmt
from model_zoo.gnmt_decoding import words_said
from model_zoo.gnmt_tensorflow import Run, Sentence, State, Weights, encode, step

Tensor = Any  # TensorFlow ships no types

IMPOSSIBLE = -1e30
"""The logarithm of what has no probability: finite, and far enough from the last float to be added up."""


class Beams(NamedTuple):
    """The sentences so far, best first; all [batch, width].

    words: their last ones.          chances: logarithms of their probabilities.
    finished: whether they ended.    lengths: their words, float32.        scores: as in `Beam`.
    """

    words: Tensor
    chances: Tensor
    finished: Tensor
    lengths: Tensor
    scores: Tensor


def search(
    network: Gnmt, source: Tensor, length: Tensor, weights: Weights, run: Run, beam: Beam
) -> tuple[Tensor, Tensor]:
    """The best sentences, int32 [batch, target, width], and their scores [batch, width], best first.

    Filled with `</s>` behind a sentence's own; ends as `greedy` does.
    """
    import tensorflow as tf

    sentence, state = encode(network, source, length, weights, run)
    most, batch = LONGEST * tf.reduce_max(length), tf.shape(source)[0]
    rows = tf.range(batch * beam.width) // beam.width
    sentence = Sentence(*(tf.gather(part, rows) for part in vars(sentence).values()))
    state = _rows(state, rows)

    def goes_on(_count: Tensor, beams: Beams, *_: Tensor) -> Tensor:
        return ~tf.reduce_all(beams.finished)

    def say(
        count: Tensor, beams: Beams, state: State, said: Tensor, parents: Tensor
    ) -> tuple[Tensor, Beams, State, Tensor, Tensor]:
        logits, state = step(network, tf.reshape(beams.words, (-1,)), state, sentence, weights)
        beams, parent = extend(beams, tf.reshape(logits, (-1, beam.width, logits.shape[1])), beam)
        rows = tf.reshape(parent + beam.width * tf.range(batch)[:, tf.newaxis], (-1,))
        said, parents = said.write(count, beams.words), parents.write(count, parent)
        return count + 1, beams, _rows(state, rows), said, parents

    arrays = words_said(beam.width), words_said(beam.width)
    first = (tf.constant(0), _first_beams(batch, beam.width), state, *arrays)
    count, beams, _, said, parents = tf.while_loop(goes_on, say, first, maximum_iterations=most)
    return _gather_tree(said.stack(), parents.stack(), count), beams.scores


def extend(beams: Beams, logits: Tensor, beam: Beam) -> tuple[Beams, Tensor]:
    """The best of all sentences one word longer, and which beam each comes from, int32 [batch, width].

    logits: [batch, width, vocabulary].
    """
    import tensorflow as tf

    vocabulary = logits.shape[2]
    is_end = tf.range(vocabulary) == END
    finished = beams.finished[..., tf.newaxis]
    steps = tf.where(finished, tf.where(is_end, 0.0, IMPOSSIBLE), tf.nn.log_softmax(logits))
    chances = beams.chances[..., tf.newaxis] + steps
    lengths = beams.lengths[..., tf.newaxis] + tf.cast(~finished & ~is_end, tf.float32)
    penalties = tf.pow((LENGTH_OFFSET + lengths) / (LENGTH_OFFSET + 1), beam.penalty)
    flat = (-1, beam.width * vocabulary)
    scores, places = tf.math.top_k(tf.reshape(chances / penalties, flat), beam.width)
    chances = tf.gather(tf.reshape(chances, flat), places, batch_dims=1)
    parent, words = places // vocabulary, places % vocabulary
    was_finished = tf.gather(beams.finished, parent, batch_dims=1)
    lengths = tf.gather(beams.lengths, parent, batch_dims=1) + tf.cast(~was_finished, tf.float32)
    return Beams(words, chances, was_finished | (words == END), lengths, scores), parent


def _first_beams(batch: Tensor, width: int) -> Beams:
    """One beam with nothing said, and others that never were."""
    import tensorflow as tf

    alone = tf.tile(tf.range(width)[tf.newaxis] == 0, (batch, 1))
    zero = tf.zeros((batch, width))
    return Beams(tf.fill((batch, width), START), tf.where(alone, 0.0, IMPOSSIBLE), ~alone, zero, zero)


def _rows(state: State, rows: Tensor) -> State:
    import tensorflow as tf

    chosen: State = tf.nest.map_structure(lambda part: tf.gather(part, rows), state)
    return chosen


def _gather_tree(said: Tensor, parents: Tensor, count: Tensor) -> Tensor:
    """Follow every beam back to its first word: [target, batch, width] twice to [batch, target, width]."""
    import tensorflow as tf

    def back(step: Tensor, beams: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        place = count - 1 - step
        words = words.write(step, tf.gather(said[place], beams, batch_dims=1))
        return step + 1, tf.gather(parents[place], beams, batch_dims=1), words

    width = said.shape[2]
    beams = tf.tile(tf.range(width)[tf.newaxis], (tf.shape(said)[1], 1))
    first = (tf.constant(0), beams, words_said(width))
    _, _, words = tf.while_loop(lambda step, *_: step < count, back, first, maximum_iterations=count)
    return tf.transpose(tf.reverse(words.stack(), (0,)), (1, 0, 2))
