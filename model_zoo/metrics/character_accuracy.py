"""How many characters stand where they should: AI Matrix' own figure for CRNN (MODELS.md 2.6)."""

from __future__ import annotations

from model_zoo.metrics.sums import MeanMetric


class CharacterAccuracy(MeanMetric):
    """truth, answer: texts. The share of the truth's places that have the same character in the answer.

    A character too many or too few moves all that follow it, unlike in `CharacterErrorRate`.
    """

    def score(self, truth: str, answer: str) -> float:
        if not truth:
            return float(not answer)
        return sum(one == other for one, other in zip(truth, answer, strict=False)) / len(truth)
