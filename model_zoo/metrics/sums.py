"""Metrics that are a formula of sums over samples: of a score (a mean), or of counts (a rate, BLEU)."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics.contract import Weights, is_broken


class SumMetric:
    """A Metric whose subclass says what of a sample is summed up, and what the sums give."""

    def __init__(self) -> None:
        self._rows = array("d")
        self._samples = 0
        self._table: NDArray[np.float64] | None = None
        self._broken = 0

    def parts(self, truth: Any, answer: Any) -> tuple[float, ...]:
        """What is summed up of a sample."""
        raise NotImplementedError

    def worst(self, truth: Any) -> tuple[float, ...]:
        """The same of an answer that is broken."""
        raise NotImplementedError

    def of_sums(self, sums: NDArray[np.float64]) -> float:
        """The value; NaN where it is not defined."""
        raise NotImplementedError

    @property
    def samples(self) -> int:
        return self._samples

    @property
    def broken(self) -> int:
        return self._broken

    def add(self, truth: Any, answer: Any) -> None:
        broken = is_broken(answer)
        self._rows.extend(self.worst(truth) if broken else self.parts(truth, answer))
        self._broken += broken
        self._samples += 1
        self._table = None

    def value(self, weights: Weights | None = None) -> float:
        if not self._samples:
            return math.nan
        return self.of_sums(self._sums(weights))

    def scores(self) -> NDArray[np.float64] | None:
        return None

    def table(self) -> NDArray[np.float64]:
        """[samples, parts]."""
        if self._table is None:
            self._table = np.array(self._rows).reshape(self._samples, -1)
        return self._table

    def _sums(self, weights: Weights | None) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = self.table().sum(axis=0) if weights is None else weights @ self.table()
        return sums


class ShareMetric(SumMetric):
    """The first part's sum over the second's: how many of how many."""

    def worst(self, truth: Any) -> tuple[float, ...]:
        """None of as many."""
        raise NotImplementedError

    def of_sums(self, sums: NDArray[np.float64]) -> float:
        return float(sums[0] / sums[1]) if sums[1] else math.nan


class MeanMetric(ShareMetric):
    """The mean of a score between 0 and 1; a broken answer scores 0."""

    def score(self, truth: Any, answer: Any) -> float:
        """Of one sample, 0 to 1."""
        raise NotImplementedError

    def parts(self, truth: Any, answer: Any) -> tuple[float, ...]:
        return float(self.score(truth, answer)), 1.0

    def worst(self, truth: Any) -> tuple[float, ...]:
        return 0.0, 1.0

    def scores(self) -> NDArray[np.float64] | None:
        return self.table()[:, 0] if self.samples else np.zeros(0)
