"""What the outputs of a model mean: the decision a user would act on, as whole numbers.

(What detectors find is no such row: see `detection`.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model_zoo.finite import finite
from runtime.errors import GraphError
from runtime.tensors import Array


class Answering:
    """A task whose answers are rows of whole numbers: samples agree when their rows are equal."""

    numeric = True

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """One row per sample: the decision a user would act on."""
        raise NotImplementedError

    def agreeing(
        self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int
    ) -> NDArray[np.float64]:
        """[samples]: 1 where both give the same answer, else 0; raises what `answers` raises."""
        same: NDArray[np.bool_] = (self.answers(reference) == self.answers(outputs)).all(axis=1)
        return same.astype(np.float64)


@dataclass(frozen=True)
class Classification(Answering):
    """The class with the highest score; the first of equals."""

    name: str = "classification"
    agreement: str = "top-1 agreement"

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, 1]: the index of the best class in the only output, [samples, classes].

        The output may have axes of length 1 behind these, where the classifier is a convolution.
        Raises GraphError for any other outputs, CheckFailed for NaN or infinity in them.
        """
        return _best_column(_only_matrix(self.name, outputs))


@dataclass(frozen=True)
class Span(Answering):
    """The answer's first and last token: google-research/bert's choice as far as the logits tell.

    Of the `candidates` best starts and ends, the pair with the highest sum whose end is not before its start
    and that is `longest` tokens at most (n_best_size 20, max_answer_length 30; MODELS.md §20). That code also
    drops tokens outside the context, which takes the text; here a span may lie in the question.
    """

    name: str = "span"
    agreement: str = "span agreement"
    candidates: int = 20
    longest: int = 30

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, 2]: start and end position, or -1 and -1 where no pair of candidates makes a span.

        Reads `start_logits` and `end_logits`, both [samples, tokens]. Raises GraphError for any other
        outputs, CheckFailed for NaN or infinity in them.
        """
        if set(outputs) != {"start_logits", "end_logits"}:
            raise GraphError(
                f"a span task wants outputs start_logits and end_logits, the graph gives {sorted(outputs)}"
            )
        starts, start_scores = self._best(outputs, "start_logits")
        ends, end_scores = self._best(outputs, "end_logits")
        lengths = ends[:, None, :] - starts[:, :, None] + 1
        allowed = (lengths >= 1) & (lengths <= self.longest)
        scores = np.where(allowed, start_scores[:, :, None] + end_scores[:, None, :], -np.inf)
        return _pick(starts, ends, scores)

    def _best(self, outputs: Mapping[str, Array], name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        logits = _finite_matrix(self.name, name, outputs[name]).astype(np.float64)
        positions = np.argsort(-logits, axis=-1, kind="stable")[:, : self.candidates]
        return positions, np.take_along_axis(logits, positions, axis=-1)


@dataclass(frozen=True)
class Embedding(Answering):
    """Which of fixed anchors an embedding is nearest to: the cell it would be filed under.

    An index over embeddings (an inverted file) makes this very decision, with anchors learned from its data.
    Ours are `anchors` seeded directions, so that an answer depends neither on the other samples of the batch
    nor on anything stored. They are stricter than a search: with noise that leaves a cosine of 0.995, 90 % of
    320 MiniLM sentence embeddings stayed in their cell of 64, where 97.5 % kept their nearest neighbour.
    """

    name: str = "embedding"
    agreement: str = "nearest-anchor agreement"
    anchors: int = 64

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, 1]: the anchor with the largest cosine to the only output, [samples, features].

        Raises GraphError for any other outputs, CheckFailed for NaN or infinity in them.
        """
        embeddings = _only_matrix(self.name, outputs).astype(np.float64)
        directions = anchor_directions(self.anchors, embeddings.shape[-1])
        return _best_column(embeddings @ directions.T)


CLASSIFICATION = Classification()
SPAN = Span()
EMBEDDING = Embedding()


@lru_cache(maxsize=4)
def anchor_directions(count: int, features: int) -> NDArray[np.float64]:
    """[count, features] of -1 and 1, the same on every machine; all rows are equally long."""
    key = f"aimatrix anchors {count} {features}".encode()
    bits = np.frombuffer(hashlib.shake_256(key).digest(-(-count * features // 8)), dtype=np.uint8)
    signs = np.unpackbits(bits)[: count * features].reshape(count, features).astype(np.float64) * 2 - 1
    signs.flags.writeable = False
    return signs


def _best_column(scores: Array) -> NDArray[np.int64]:
    best: NDArray[np.int64] = np.argmax(scores, axis=-1, keepdims=True).astype(np.int64)
    return best


def _pick(
    starts: NDArray[np.int64], ends: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The positions behind the highest of `scores` [samples, starts, ends]."""
    flat = scores.reshape(len(scores), -1)
    best = flat.argmax(axis=-1)
    start, end = np.unravel_index(best, scores.shape[1:])
    rows = np.arange(len(scores))
    spans = np.stack([starts[rows, start], ends[rows, end]], axis=-1)
    spans[np.isneginf(flat[rows, best])] = -1
    return spans.astype(np.int64)


def _only_matrix(task: str, outputs: Mapping[str, Array]) -> Array:
    if len(outputs) != 1:
        raise GraphError(f"{task} wants a graph with one output, this one gives {sorted(outputs)}")
    ((name, array),) = outputs.items()
    single_pixels = array.ndim > 2 and set(array.shape[2:]) == {1}
    return _finite_matrix(task, name, array.reshape(array.shape[:2]) if single_pixels else array)


def _finite_matrix(task: str, name: str, array: Array) -> Array:
    if array.ndim != 2 or not array.shape[-1]:
        raise GraphError(f"{task} wants {name!r} as [samples, values], the graph gives {list(array.shape)}")
    return finite(name, array, "it decides nothing")
