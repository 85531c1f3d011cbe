"""PASCAL VOC 2007's mean average precision (Everingham et al. 2010, section 4.2; MODELS.md 2.6)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model_zoo.detection import Found, overlaps
from model_zoo.metrics.contract import Weights, is_broken
from model_zoo.metrics.objects import TrueObjects
from model_zoo.metrics.ranked import Flags, RankedHits, interpolated

_OVERLAP = 0.5
_LEVELS = np.linspace(0, 1, 11) - 1e-9
"""Of recall; less what a division may lose, so that 3 of 10 reach 0.3."""


class VocMeanPrecision:
    """truth: TrueObjects, "difficult" ones ignored.     answer: Found, corners in pixels of the image.

    Average precision at 11 levels of recall, and its mean over the classes of which there is any. By falling
    score an answer takes the object it overlaps most: right at 0.5 or more and not taken before, wrong
    otherwise, neither on a difficult one. A broken answer finds nothing.
    """

    def __init__(self) -> None:
        self._hits = RankedHits()
        self._broken = 0

    @property
    def samples(self) -> int:
        return self._hits.images

    @property
    def broken(self) -> int:
        return self._broken

    def add(self, truth: TrueObjects, answer: Found | None) -> None:
        self._hits.next_image()
        if answer is None or is_broken(answer):
            self._broken += 1
            answer = Found(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4)))
        for label in np.union1d(truth.labels, answer.labels).tolist():
            of_class = truth.labels == label
            found = answer.at(np.flatnonzero(answer.labels == label))
            found = found.at(np.argsort(-found.scores, kind="stable"))
            ignored = truth.ignored[of_class]
            over = overlaps(found.corners.astype(np.float64), truth.corners[of_class])
            right, wrong = _outcomes(over, ignored)
            wanted = int(np.count_nonzero(~ignored))
            self._hits.add(label, wanted, found.scores, right[np.newaxis], wrong[np.newaxis])

    def value(self, weights: Weights | None = None) -> float:
        precisions = [interpolated(curve, _LEVELS).mean() for curve in self._hits.curves(weights)]
        return float(np.mean(precisions)) if precisions else math.nan

    def scores(self) -> NDArray[np.float64] | None:
        return None


def _outcomes(over: NDArray[np.float64], ignored: Flags) -> tuple[Flags, Flags]:
    """Of answers by falling score, overlaps [answers, objects], which are right and which wrong."""
    right, wrong = np.zeros(len(over), bool), np.zeros(len(over), bool)
    taken = np.zeros(len(ignored), bool)
    for index, row in enumerate(over):
        best = int(row.argmax()) if row.size else -1
        if best < 0 or row[best] < _OVERLAP:
            wrong[index] = True
        elif not ignored[best]:
            right[index], wrong[index] = not taken[best], taken[best]
            taken[best] = True
    return right, wrong
