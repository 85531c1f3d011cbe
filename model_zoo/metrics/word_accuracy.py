"""Whether a text was read right, as a whole (MODELS.md 2.6, CRNN)."""

from __future__ import annotations

from model_zoo.metrics.sums import MeanMetric


class WordAccuracy(MeanMetric):
    """truth, answer: texts. Whether they are the same, letter case included."""

    def score(self, truth: str, answer: str) -> float:
        return float(truth == answer)
