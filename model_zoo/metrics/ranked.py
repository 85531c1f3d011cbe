"""Detections of many images by falling score, with what each turned out to be: what precision is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics.contract import Weights
from runtime.tensors import Array

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """Of one class by falling score, at the answers that are right: precision is nowhere better.

    right, seen: how many answers so far were right, and how many counted, [overlaps, answers].
    wanted:      how many objects there are.
    """

    right: NDArray[np.float64]
    seen: NDArray[np.float64]
    wanted: float


@dataclass(frozen=True)
class _Answers:
    """Of one class by falling score.

    images: of which image each answer is, [answers].
    hits, right: the places of those right at any overlap, and at which, [overlaps, hits].
    odd, left_out: the places of those that do not count at some overlap, and at which, [overlaps, odd].
    """

    images: NDArray[np.int64]
    hits: NDArray[np.intp]
    right: Flags
    odd: NDArray[np.intp]
    left_out: Flags

    @classmethod
    def of(cls, images: NDArray[np.int64], scores: Array, right: Flags, wrong: Flags) -> _Answers:
        order = np.argsort(-scores, kind="stable")
        right, left_out = right[:, order], ~(right | wrong)[:, order]
        hits, odd = np.flatnonzero(right.any(axis=0)), np.flatnonzero(left_out.any(axis=0))
        return cls(images[order], hits, right[:, hits], odd, left_out[:, odd])

    def curve(self, counts: NDArray[np.float64], wanted: float) -> Curve:
        """Where an image counts as often as `counts` says."""
        often = counts[self.images]
        right = np.cumsum(self.right * often[self.hits], axis=-1)
        left_out = np.cumsum(self.left_out * often[self.odd], axis=-1)
        left_out = np.concatenate([np.zeros((len(left_out), 1)), left_out], axis=-1)
        before = np.searchsorted(self.odd, self.hits)
        return Curve(right, np.cumsum(often)[self.hits] - left_out[:, before], wanted)


class RankedHits:
    """Of each image and class how many objects are wanted, and of each answer whether it was right or wrong.

    An answer that is neither was on an object that is ignored.
    """

    def __init__(self) -> None:
        self._images = 0
        self._wanted: dict[int, list[tuple[int, int]]] = {}
        self._numbers: dict[int, NDArray[np.int64]] = {}
        self._found: dict[int, list[tuple[NDArray[np.int64], Array, Flags, Flags]]] = {}
        self._sorted: dict[int, _Answers] = {}

    @property
    def images(self) -> int:
        return self._images

    def next_image(self) -> None:
        """What is added from here on is of the next image."""
        self._images += 1

    def add(self, label: int, wanted: int, scores: Array, right: Flags, wrong: Flags) -> None:
        """Of the image begun last: objects of a class, and answers [n] with their flags [overlaps, n]."""
        self._wanted.setdefault(label, []).append((self._images - 1, wanted))
        self._numbers.pop(label, None)
        if len(scores):
            images = np.full(len(scores), self._images - 1, np.int64)
            self._found.setdefault(label, []).append((images, np.asarray(scores), right, wrong))
            self._sorted.pop(label, None)

    def curves(self, weights: Weights | None) -> Iterator[Curve]:
        """One for each class of which anything is wanted; an image counts as often as its weight says."""
        counts = np.ones(self._images) if weights is None else np.asarray(weights, np.float64)
        for label in sorted(self._wanted):
            if label not in self._numbers:
                self._numbers[label] = np.array(self._wanted[label], np.int64).T
            images, numbers = self._numbers[label]
            wanted = float(counts[images] @ numbers)
            if wanted:
                yield self._curve(label, counts, wanted)

    def _curve(self, label: int, counts: NDArray[np.float64], wanted: float) -> Curve:
        if label not in self._found:
            return Curve(np.zeros((1, 0)), np.zeros((1, 0)), wanted)
        if label not in self._sorted:
            images, scores, right, wrong = (
                np.concatenate(column, axis=-1) for column in zip(*self._found[label], strict=True)
            )
            self._sorted[label] = _Answers.of(images, scores, right, wrong)
        return self._sorted[label].curve(counts, wanted)


def interpolated(curve: Curve, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """[overlaps, levels]: the best precision at each level of recall or more, 0 where it is not reached."""
    right, seen = curve.right, curve.seen
    precision = np.divide(right, seen, out=np.zeros_like(right), where=seen > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=-1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=-1)
    places = np.stack([np.searchsorted(row, levels) for row in right / curve.wanted])
    return np.take_along_axis(best, places, axis=-1)
