"""Accuracy where there are two outcomes, the likelier of which is the answer (MODELS.md 2.6, Wide & Deep)."""

from __future__ import annotations

from model_zoo.metrics.sums import MeanMetric


class BinaryAccuracy(MeanMetric):
    """truth: whether it happened.     answer: its probability; 0.5 itself says that it did not."""

    def score(self, truth: bool, answer: float) -> float:
        return float((float(answer) > 0.5) == bool(truth))
