"""HR@k of one right item among candidates (MODELS.md 2.6; He et al. 2017, section 4.1)."""

from __future__ import annotations

import math

import numpy as np

from model_zoo.metrics.sums import MeanMetric
from model_zoo.ranking import CUT
from runtime.errors import UsageError
from runtime.tensors import Array


class HitRate(MeanMetric):
    """truth: the right candidate's place in the answer.     answer: scores [candidates].

    Whether the right one is among the `cut` best. Equal scores count against it: one who scores all alike has
    found nothing.
    """

    def __init__(self, cut: int = CUT) -> None:
        super().__init__()
        self._cut = cut

    def score(self, truth: int, answer: Array) -> float:
        return float(rank(truth, answer) < self._cut)


def rank(truth: int, answer: Array) -> int:
    """How many other candidates do not score below the right one.

    Raises UsageError for a place that the answer does not have, or where there is nothing to rank it among.
    """
    scores = np.asarray(answer).reshape(-1)
    if scores.size < 2 or not 0 <= truth < scores.size:
        raise UsageError(
            f"a ranking wants the right one of two candidates or more, got place {truth} of {scores.size};"
            " give each user's candidates as one answer"
        )
    return int(np.count_nonzero(scores >= scores[truth])) - 1


def gain(place: int, cut: int) -> float:
    """What a right item at this rank, from 0, adds to NDCG."""
    return 1 / math.log2(place + 2) if place < cut else 0.0
