"""Top-k accuracy: whether the right class is among the k that score highest (MODELS.md 2.6)."""

from __future__ import annotations

import numpy as np

from model_zoo.metrics.sums import MeanMetric
from runtime.errors import UsageError
from runtime.tensors import Array


class TopK(MeanMetric):
    """truth: a class, a whole number.     answer: scores [classes].

    Of classes that score the same the first comes first, as in tasks.Classification's own answers: a network
    that says the same of everything is right about k classes, and no more.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self._k = k

    def score(self, truth: int, answer: Array) -> float:
        scores = np.asarray(answer).reshape(-1)
        if not 0 <= truth < scores.size:
            raise UsageError(
                f"the true class is {truth}, but the network scores {scores.size} classes, numbered from 0;"
                " give labels that belong to this network"
            )
        before = np.count_nonzero(scores > scores[truth])
        before += np.count_nonzero(scores[:truth] == scores[truth])
        return float(before < self._k)
