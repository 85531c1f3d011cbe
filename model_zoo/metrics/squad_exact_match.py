"""SQuAD 1.1's exact match (Rajpurkar et al. 2016, section 6.1)."""

from __future__ import annotations

from collections.abc import Sequence

from model_zoo.metrics.squad_text import best_of, normalised
from model_zoo.metrics.sums import MeanMetric


class ExactMatch(MeanMetric):
    """truth: the answers that people gave.     answer: a text. Whether it is one of them, normalised."""

    def score(self, truth: Sequence[str], answer: str) -> float:
        return best_of(truth, answer, lambda one, other: float(normalised(one) == normalised(other)))
