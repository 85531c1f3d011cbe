"""Beam search in TensorFlow against one over Python lists, all sentences there are, and greedy search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

from model_zoo.gnmt import Beam, Gnmt
from model_zoo.gnmt_decoding import greedy
from model_zoo.gnmt_feeds import sentence_feeds
from model_zoo.gnmt_seeded import seeded_weights
from model_zoo.spec import Split
from runtime.tensors import Array, Feed
from tests.model_zoo.gnmt_relative import END, RELATIVE, START, Oracle, log_softmax, random_weights

tensorflow = pytest.importorskip("tensorflow")

SMALL = replace(RELATIVE, source_vocabulary=40, target_vocabulary=30)
TINY = Gnmt(layers=2, units=8, source_vocabulary=6, target_vocabulary=5)


@dataclass(frozen=True)
class Hypothesis:
    """A sentence so far, as Python sees it."""

    words: tuple[int, ...]
    chance: float
    cells: Any
    attention: Array

    @property
    def finished(self) -> bool:
        return bool(self.words) and self.words[-1] == END


def test_the_best_sentences_are_those_of_a_search_over_lists() -> None:
    weights = seeded_weights(SMALL)
    feed = next(sentence_feeds(SMALL, 8).batches(3, Split.EVALUATION))
    words, scores = _search(SMALL, weights, feed, Beam(4, 1.0))
    oracle = Oracle(SMALL, weights)
    for row, length in enumerate(feed["source_length"]):
        expected = _search_lists(oracle, feed["source"][row, :length], Beam(4, 1.0), words.shape[1])
        for place, (hypothesis, score) in enumerate(expected):
            assert _until_end(words[row, :, place]) == hypothesis.words
            assert scores[row, place] == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_wider_than_all_sentences_finds_the_best_of_them(penalty: float) -> None:
    """Of one word of source, two words are said at most: 1 sentence of `</s>`, and 4 times 5 of two."""
    weights = random_weights(TINY)
    feed = {"source": np.array([[4]], np.int32), "source_length": np.array([1], np.int32)}
    width = 21
    words, scores = _search(TINY, weights, feed, Beam(width, penalty))
    oracle = Oracle(TINY, weights)
    every = [(END,), *product((0, 1, 3, 4), range(5))]
    expected = {}
    for said in every:
        counted = len(said) - (len(said) == 2 and said[-1] == END)  # a last step's `</s>` is not counted yet
        length = len(said) if said == (END,) else counted
        chance = oracle.log_probability(feed["source"][0], list(said))
        expected[said] = chance / ((5 + length) / 6) ** penalty
    ranked = sorted(expected, key=lambda said: -expected[said])
    assert [_until_end(words[0, :, place]) for place in range(width)] == ranked
    np.testing.assert_allclose(scores[0], [expected[said] for said in ranked], rtol=1e-4)


def test_scores_are_probabilities_over_lengths_best_first() -> None:
    weights = seeded_weights(SMALL)
    feed = next(sentence_feeds(SMALL, 6).batches(2, Split.CALIBRATION))
    words, scores = _search(SMALL, weights, feed, Beam(3, 0.6))
    assert (np.diff(scores, axis=1) <= 0).all()
    oracle = Oracle(SMALL, weights)
    for row, length in enumerate(feed["source_length"]):
        said = _until_end(words[row, :, 0])
        chance = oracle.log_probability(feed["source"][row, :length], list(said))
        assert scores[row, 0] == pytest.approx(chance / ((5 + len(said)) / 6) ** 0.6, rel=1e-4)


def test_a_beam_of_one_is_greedy() -> None:
    weights = seeded_weights(SMALL)
    feed = next(sentence_feeds(SMALL, 8).batches(4, Split.EVALUATION))
    words, _ = _search(SMALL, weights, feed, Beam(1, 1.0))
    expected = _traced(partial(greedy, SMALL), weights, feed)[0]
    np.testing.assert_array_equal(words[..., 0], expected)


def _search(network: Gnmt, weights: dict[str, Array], feed: Feed, beam: Beam) -> tuple[Array, Array]:
    from model_zoo.gnmt_beam import search

    words, scores = _traced(partial(search, network), weights, feed, beam)
    return words, scores


def _traced(function: Any, weights: dict[str, Array], feed: Feed, *arguments: Any) -> list[Array]:
    from model_zoo.gnmt_tensorflow import looped, read

    signature = [tensorflow.TensorSpec(shape, "int32") for shape in ([None, None], [None])]

    @tensorflow.function(autograph=False, input_signature=signature)  # type: ignore[untyped-decorator]
    def traced(source: Any, length: Any) -> Any:
        return function(source, length, read(weights), looped, *arguments)

    return [part.numpy() for part in traced(feed["source"], feed["source_length"])]


def _search_lists(oracle: Oracle, source: Array, beam: Beam, steps: int) -> list[tuple[Hypothesis, float]]:
    """Extend every sentence by every word, and keep the best, as often as the longest of the batch needs."""
    memory, cells = oracle.encode(source)
    beams = [(Hypothesis((), 0.0, cells, np.zeros(oracle.network.units)), 0.0)]
    for _ in range(steps):
        candidates = [
            found for hypothesis, _ in beams for found in _extended(oracle, hypothesis, memory, beam)
        ]
        beams = sorted(candidates, key=lambda found: -found[1])[: beam.width]
    return beams


def _extended(
    oracle: Oracle, hypothesis: Hypothesis, memory: Array, beam: Beam
) -> list[tuple[Hypothesis, float]]:
    if hypothesis.finished:
        score = hypothesis.chance / ((5 + len(hypothesis.words)) / 6) ** beam.penalty
        return [(hypothesis, score)]
    last = hypothesis.words[-1] if hypothesis.words else START
    logits, cells, attention, _ = oracle.step(last, hypothesis.cells, hypothesis.attention, memory)
    found = []
    for word, gain in enumerate(log_softmax(logits)):
        new = Hypothesis((*hypothesis.words, word), hypothesis.chance + gain, cells, attention)
        length = len(hypothesis.words) + (word != END)
        found.append((new, new.chance / ((5 + length) / 6) ** beam.penalty))
    return found


def _until_end(words: Array) -> tuple[int, ...]:
    said = words.tolist()
    return tuple(said[: said.index(END) + 1] if END in said else said)
