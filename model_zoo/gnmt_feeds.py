"""Samples for the forms of a GNMT whose sentences nobody wrote, and what is refused of a user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.gnmt import END, FIRST_WORD, Gnmt
from model_zoo.gnmt_sources import SENTENCES, WORDS, Form, inputs_of
from model_zoo.samples import LazyFeeds, Samples, digest_of, uniforms
from model_zoo.seeded import seeded_normal
from model_zoo.spec import FeedSource, Split
from runtime.errors import FeedError, UsageError
from runtime.tensors import Array, Feed

_SOURCE, _LENGTH = (spec.name for spec in SENTENCES)

_SHORTEST = 4
_SPREAD = 84
"""Lengths are 4 + 84 times a product of two uniform values, 50 at most: 23 on average, most of them shorter.

News sentences in pieces of words have about 25 (newstest2014).
"""

_DEVIATIONS = {"hidden": 0.25, "cell": 0.55, "attention": 0.29, "memory": 0.29, "keys": 1.2}
"""Of what a decoder with seeded weights is given, at any size."""


def sentence_feeds(network: Gnmt, words: int) -> LazyFeeds:
    """Sentences int32 source [batch, words] and source_length [batch], of words by Zipf's law."""
    return _made_up("sentences of words by Zipf's law", _Sentence(network, words))


def step_feeds(network: Gnmt, words: int) -> LazyFeeds:
    """What a decoder is given in the middle of a sentence: words by Zipf's law, states of noise.

    What a real encoder hands on depends on its weights, which feeds do not know.
    """
    return _made_up(
        "words by Zipf's law, states of noise as wide as the seeded network's", _Step(network, words)
    )


def check_sentences(network: Gnmt, feed: Feed) -> None:
    """Raises FeedError for words and lengths that are none, and for words behind a sentence's end."""
    source, length = feed[_SOURCE], feed[_LENGTH]
    _check_words(_SOURCE, source, network.source_vocabulary)
    _check_lengths(length, source.shape[1])
    behind = (np.arange(source.shape[1]) >= length[:, np.newaxis]) & (source != END)
    if behind.any():
        row, place = np.argwhere(behind)[0]
        raise FeedError(
            f"input {_SOURCE!r} has word {source[row, place]} at place {place} of row {row}, behind the"
            f" sentence's length {length[row]}; fill it with {END} (</s>), or correct {_LENGTH!r}"
        )


def check_step(network: Gnmt, feed: Feed) -> None:
    """Raises FeedError for words and lengths that are none."""
    _check_words(WORDS.name, feed[WORDS.name], network.target_vocabulary)
    _check_lengths(feed[_LENGTH], feed["memory"].shape[1])


def _check_words(name: str, words: Array, vocabulary: int) -> None:
    wrong = (words < 0) | (words >= vocabulary)
    if wrong.any():
        first = np.argwhere(wrong)[0]
        raise FeedError(
            f"input {name!r} has word {words[tuple(first)]} in row {first[0]}; the vocabulary has 0 to"
            f" {vocabulary - 1}: give numbers of this network's words"
        )


def _check_lengths(lengths: Array, most: int) -> None:
    wrong = (lengths < 1) | (lengths > most)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FeedError(
            f"input {_LENGTH!r} is {lengths[row]} in row {row}; expected 1 to {most}, the words there is room"
            " for: an empty sentence has nothing to attend to"
        )


def _made_up(origin: str, sample: _Sentence | _Step) -> LazyFeeds:
    digest = digest_of(sample, _SHORTEST, _SPREAD, _DEVIATIONS)
    found = Samples(f"synthetic (seed 0): {origin}", synthetic=True, digest=digest, sample=sample)
    return LazyFeeds(lambda _: found, over=_refuse)


def _refuse(path: Path) -> FeedSource:
    raise UsageError(
        f"{path}: sentences are not read from text, as no vocabulary is part of the model; give their numbers"
        f" as {_SOURCE} and {_LENGTH} with --feeds FILE.npz"
    )


@dataclass(frozen=True)
class _Sentence:
    """The k-th sentence, filled up to `words`."""

    network: Gnmt
    words: int

    def __call__(self, split: Split, k: int) -> Feed:
        values = uniforms(2 + self.words, "sentence", split.value, k)
        length = _length(values, self.words)
        source = np.full(self.words, END, np.int32)
        source[:length] = _by_zipf(values[2 : 2 + length], self.network.source_vocabulary)
        return {_SOURCE: source, _LENGTH: np.array(length, np.int32)}


@dataclass(frozen=True)
class _Step:
    """The k-th state of a decoder, over a sentence that is filled up to `words`."""

    network: Gnmt
    words: int

    def __call__(self, split: Split, k: int) -> Feed:
        values = uniforms(3, "step", split.value, k)
        given: dict[str, Array] = {
            spec.name: self._noise(spec.name, spec.shape[1:], split, k)
            for spec in inputs_of(self.network, Form.STEP)
            if spec.dtype == "float32"
        }
        length = np.array(_length(values, self.words), np.int32)
        word = _by_zipf(values[2:], self.network.target_vocabulary)[0]
        return {WORDS.name: np.array(word, np.int32), **given, _LENGTH: length}

    def _noise(self, name: str, shape: tuple[int | str, ...], split: Split, k: int) -> Array:
        sizes = [self.words if isinstance(size, str) else size for size in shape]
        deviation = np.float32(_DEVIATIONS[name.partition("_")[0]])
        return seeded_normal(f"{name}/{split.value}/{k}", sizes) * deviation


def _length(values: NDArray[np.float64], most: int) -> int:
    return min(most, _SHORTEST + int(_SPREAD * values[0] * values[1]))


def _by_zipf(values: NDArray[np.float64], vocabulary: int) -> NDArray[np.int32]:
    """Word numbers for values in [0, 1), their ranks log-uniform."""
    ranks = ((vocabulary - FIRST_WORD) ** values).astype(np.int32)
    return ranks + np.int32(FIRST_WORD - 1)
