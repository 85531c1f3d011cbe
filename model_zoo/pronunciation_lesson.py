"""A GNMT taught to say words: from their letters, with the phonemes so far given (teacher forcing)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from model_zoo.adam import Adam
from model_zoo.exam_parts import judged
from model_zoo.gnmt import ATTENTION, END, START, Gnmt
from model_zoo.gnmt_sources import Form, source_of
from model_zoo.pronunciation import NETWORK, Entry, Lexicon, Numbers, filled, lexicon, said, spelled, spoken
from model_zoo.pronunciation_exam import as_text
from model_zoo.seeded import seeded_normal
from model_zoo.training import Step, compiled, weights_of
from model_zoo.translation import TRANSLATION
from runtime.progress import Progress, silent
from runtime.tensors import Array

_EPOCHS = 2
_BATCH = 128
_RATE = 0.002

_WIDTHS = (6, 8, 11, 21)
"""Letters, and phonemes with their end, of a batch: words of about one length learn together."""


@dataclass(frozen=True)
class PronunciationLesson:
    """A Lesson (model_zoo.spec) over the words that are learned from.

    weights: TensorFlow variables by the names of `network.shapes()`.
    """

    network: Gnmt
    words: Lexicon
    seed: int
    weights: Mapping[str, Any]
    adam: Adam
    step: Step

    @classmethod
    def from_dictionary(cls, seed: int, progress: Progress = silent) -> PronunciationLesson:
        """Nothing learned yet; raises UnavailableError where the dictionary cannot be fetched."""
        return cls.of(NETWORK, lexicon(progress), seed)

    @classmethod
    def of(cls, network: Gnmt, words: Lexicon, seed: int) -> PronunciationLesson:
        """Nothing learned yet; raises UnavailableError where TensorFlow is not installed."""
        from exporters.tensorflow import import_tensorflow

        tensorflow = import_tensorflow()
        weights = {name: tensorflow.Variable(array) for name, array in _first_weights(network, seed)}
        adam = Adam(weights, _RATE)
        return cls(network, words, seed, weights, adam, compiled(_step_of(network, weights, adam)))

    @property
    def state(self) -> Sequence[Any]:
        return self.adam.state

    @property
    def epochs(self) -> int:
        return _EPOCHS

    @property
    def steps(self) -> int:
        return len(_batches(self.words.learned))

    def epoch(self, number: int) -> Iterator[float]:
        """Every word once, in batches of words about as long, in an order of the epoch's own."""
        generator = np.random.Generator(np.random.Philox([self.seed, number]))
        entries = self.words.learned
        batches = _batches([entries[index] for index in generator.permutation(len(entries))])
        for index in generator.permutation(len(batches)):
            yield float(self.step(*_teaching(batches[index])))

    def scores(self) -> Mapping[str, float]:
        """Share of held-out words said right, and wrong phonemes over those there are (PER)."""
        entries = self.words.held_out
        letters = [spelled(entry.word) for entry in entries]
        feed = {
            "source": filled(letters, max(map(len, letters))),
            "source_length": np.array([len(word) for word in letters], np.int32),
        }
        outputs = source_of(self.network, Form.GREEDY, weights_of(self)).run(feed)
        found = [said(sentence) for sentence in TRANSLATION.sentences(outputs)]
        return pronunciation_scores([entry.phonemes for entry in entries], found)


def pronunciation_scores(
    expected: Sequence[tuple[str, ...]], found: Sequence[tuple[str, ...]]
) -> Mapping[str, float]:
    """`word accuracy`, and `PER`: the edits that make one of the other, over the phonemes expected."""
    scores = judged(("word-accuracy", "character-error-rate"), map(as_text, expected), map(as_text, found))
    return {"PER" if name == "CER" else name: value for name, value in scores.items()}


def _width(entry: Entry) -> int:
    return next(width for width in _WIDTHS if max(len(entry.word), len(entry.phonemes) + 1) <= width)


def _batches(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Full batches but for one of each width, in the order of `entries`."""
    by_width = groupby(sorted(entries, key=_width), key=_width)
    groups = [list(group) for _, group in by_width]
    return [group[start : start + _BATCH] for group in groups for start in range(0, len(group), _BATCH)]


def _teaching(entries: Sequence[Entry]) -> tuple[int, Numbers, Numbers, Numbers, Array]:
    """Width, letters [batch, width], their lengths, phonemes with `</s>`, and 1 where those count, else 0."""
    width = max(map(_width, entries))
    letters = [spelled(entry.word) for entry in entries]
    phonemes = [np.append(spoken(entry.phonemes), np.int32(END)) for entry in entries]
    lengths = np.array([len(sentence) for sentence in phonemes])
    counted = (np.arange(width) < lengths[:, np.newaxis]).astype(np.float32)
    source_length = np.array([len(word) for word in letters], np.int32)
    return width, filled(letters, width), source_length, filled(phonemes, width), counted


def _first_weights(network: Gnmt, seed: int) -> Iterator[tuple[str, Array]]:
    for name, shape in network.shapes().items():
        if name == f"{ATTENTION}/attention_g":
            yield name, np.array(1 / math.sqrt(network.units), np.float32)  # TensorFlow 1's
        elif name.endswith("/bias") or name == f"{ATTENTION}/attention_b":
            yield name, np.zeros(shape, np.float32)
        else:
            rows = 1 if name.startswith("embeddings") else shape[0]
            yield name, seeded_normal(name, shape, seed) * np.float32(1 / math.sqrt(rows))


def _step_of(network: Gnmt, weights: Mapping[str, Any], adam: Adam) -> Step:
    """From a batch (`_teaching`) to the mean cross entropy of a phoneme; changes the weights."""
    import tensorflow as tf

    def step(width: int, letters: Any, length: Any, phonemes: Any, counted: Any) -> Any:
        letters, phonemes = (tf.ensure_shape(part, (None, width)) for part in (letters, phonemes))
        with tf.GradientTape() as tape:
            logits = _taught(network, letters, length, phonemes, weights)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(phonemes, logits)
            loss = tf.reduce_sum(losses * counted) / tf.reduce_sum(counted)
        names = list(weights)
        gradients = tape.gradient(loss, [weights[name] for name in names])
        adam.step(dict(zip(names, gradients, strict=True)))
        return loss

    return step


def _taught(network: Gnmt, letters: Any, length: Any, phonemes: Any, weights: Mapping[str, Any]) -> Any:
    """Logits [batch, width, vocabulary] of every phoneme, with the right ones before it given."""
    import tensorflow as tf

    from model_zoo.gnmt_tensorflow import encode, read, step, unrolled

    values = read(weights)
    sentence, state = encode(network, letters, length, values, unrolled)
    words, logits = tf.fill(tf.shape(length), START), []
    for place in range(phonemes.shape[1]):
        said_next, state = step(network, words, state, sentence, values)
        logits.append(said_next)
        words = phonemes[:, place]
    return tf.stack(logits, 1)
