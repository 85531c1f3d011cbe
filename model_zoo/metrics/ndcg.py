"""NDCG@k of one right item among candidates (MODELS.md 2.6; He et al. 2017, section 4.1)."""

from __future__ import annotations

from model_zoo.metrics.hit_rate import gain, rank
from model_zoo.metrics.sums import MeanMetric
from model_zoo.ranking import CUT
from runtime.tensors import Array


class DiscountedGain(MeanMetric):
    """truth, answer: as HitRate's. 1 / log2(2 + rank) where the right one is among the `cut` best, else 0."""

    def __init__(self, cut: int = CUT) -> None:
        super().__init__()
        self._cut = cut

    def score(self, truth: int, answer: Array) -> float:
        return gain(rank(truth, answer), self._cut)
