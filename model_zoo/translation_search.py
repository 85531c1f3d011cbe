"""Translating with an encoder and a decoder's step that are graphs of their own, looped over by the host.

What one graph with a loop does (`gnmt_decoding`, `gnmt_beam`), for runtimes that have no loops. A greedy
search keeps the decoder's states on the device; a beam search sorts them anew in every step, through the
host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model_zoo.gnmt import END, LENGTH_OFFSET, LONGEST, START, Beam
from model_zoo.gnmt_sources import NEXT, SENTENCES, WORDS
from runtime.backend import Session
from runtime.stepping import stepper
from runtime.tensors import Array, Feed

_LOGITS = "logits"
_ATTENTION = "attention"
_LENGTH = SENTENCES[1].name

Numbers = NDArray[np.int32]


def greedy(encoder: Session, step: Session, feed: Feed) -> Numbers:
    """The likeliest word at every step: int32 [batch, target], filled with `</s>`; as the graph of that name.

    feed: `source` and `source_length` of the encoder; raises FeedError where it does not fit.
    """
    carried = {spec.name: spec.name.removeprefix(NEXT) for spec in step.outputs if spec.name != _LOGITS}
    batch = len(feed[_LENGTH])
    words, finished = np.full(batch, START, np.int32), np.zeros(batch, bool)
    said: list[Numbers] = []
    decoder = stepper(step, _first_step(encoder, feed, words), carried)
    while len(said) < _most(feed) and not finished.all():
        logits = decoder.step({WORDS.name: words})[_LOGITS]
        words = np.where(finished, END, logits.argmax(axis=1)).astype(np.int32)
        finished |= words == END
        said.append(words)
    return np.stack(said, axis=1)


def search(encoder: Session, step: Session, feed: Feed, beam: Beam | None = None) -> tuple[Numbers, Array]:
    """The best sentences int32 [batch, target, width] and their scores [batch, width], best first.

    As the graph `beam`, but for rounding. feed: as for `greedy`.
    """
    chosen = beam or Beam()
    given = _first_step(encoder, feed, np.full(len(feed[_LENGTH]), START, np.int32))
    given = {name: np.repeat(array, chosen.width, axis=0) for name, array in given.items()}
    beams = _Beams.first(len(feed[_LENGTH]), chosen)
    said: list[Numbers] = []
    parents: list[NDArray[np.intp]] = []
    while len(said) < _most(feed) and not beams.finished.all():
        outputs = dict(step.run(given))
        beams, parent = beams.extended(outputs.pop(_LOGITS))
        rows = (parent + chosen.width * np.arange(len(parent))[:, np.newaxis]).reshape(-1)
        given |= {name.removeprefix(NEXT): array[rows] for name, array in outputs.items()}
        given[WORDS.name] = beams.words.reshape(-1)
        said.append(beams.words)
        parents.append(parent)
    return _followed_back(said, parents), beams.scores


@dataclass(frozen=True)
class _Beams:
    """As gnmt_beam.Beams, in NumPy; [batch, width] each."""

    beam: Beam
    words: Numbers
    chances: Array
    finished: NDArray[np.bool_]
    lengths: Array
    scores: Array

    @classmethod
    def first(cls, batch: int, beam: Beam) -> _Beams:
        alone = np.tile(np.arange(beam.width) == 0, (batch, 1))
        zero = np.zeros((batch, beam.width), np.float32)
        words = np.full((batch, beam.width), START, np.int32)
        return cls(beam, words, np.where(alone, zero, -np.inf), ~alone, zero, zero)

    def extended(self, logits: Array) -> tuple[_Beams, NDArray[np.intp]]:
        """The best of all sentences one word longer, and which beam each comes from."""
        width, vocabulary = self.beam.width, logits.shape[1]
        is_end, finished = np.arange(vocabulary) == END, self.finished[..., np.newaxis]
        steps = _log_softmax(logits).reshape(-1, width, vocabulary)
        steps = np.where(finished, np.where(is_end, 0, -np.inf), steps)
        chances = self.chances[..., np.newaxis] + steps
        lengths = self.lengths[..., np.newaxis] + (~finished & ~is_end)
        scores = chances / ((LENGTH_OFFSET + lengths) / (LENGTH_OFFSET + 1)) ** self.beam.penalty
        places = _best(scores.reshape(len(scores), -1), width)
        parent, words = places // vocabulary, (places % vocabulary).astype(np.int32)
        was_finished = np.take_along_axis(self.finished, parent, axis=1)
        new = replace(
            self,
            words=words,
            chances=_taken(chances, places),
            finished=was_finished | (words == END),
            lengths=np.take_along_axis(self.lengths, parent, axis=1) + ~was_finished,
            scores=_taken(scores, places),
        )
        return new, parent


def _first_step(encoder: Session, feed: Feed, words: Numbers) -> dict[str, Array]:
    """What the decoder is given at first: all that the encoder says, and an attention that saw nothing."""
    read = encoder.run({spec.name: feed[spec.name] for spec in SENTENCES})
    attention = np.zeros_like(next(array for name, array in read.items() if array.ndim == 2))
    return {WORDS.name: words, **read, _ATTENTION: attention, _LENGTH: feed[_LENGTH]}


def _most(feed: Feed) -> int:
    return LONGEST * int(feed[_LENGTH].max())


def _followed_back(said: list[Numbers], parents: list[NDArray[np.intp]]) -> Numbers:
    """Every beam from its last word to its first: [batch, target, width]."""
    beams = np.tile(np.arange(said[0].shape[1]), (len(said[0]), 1))
    words = []
    for last, parent in zip(reversed(said), reversed(parents), strict=True):
        words.append(np.take_along_axis(last, beams, axis=1))
        beams = np.take_along_axis(parent, beams, axis=1)
    return np.stack(words[::-1], axis=1)


def _best(scores: Array, count: int) -> NDArray[np.intp]:
    """[rows, count]: places of the highest, highest first, the first of equals before the others."""
    places = np.sort(np.argpartition(-scores, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(scores, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalised: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def _taken(candidates: Array, places: NDArray[np.intp]) -> Array:
    return np.take_along_axis(candidates.reshape(len(candidates), -1), places, axis=1)
