"""How sure a ratio of two qualities is that were found on the same samples: pure functions.

Two ways, by what the metric is. Where it is a mean of scores between 0 and 1, a score test: it needs no lots
and stays honest where nothing changed. Where it is none (mAP, BLEU, AUC, an error rate), a paired bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats import Interval
from runtime.progress import Progress, silent

Scores = NDArray[np.float64]

_LEAST, _MOST = 1e-6, 1e6
"""Ratios beyond are not told apart from 0 and from infinity."""


def critical(confidence: float) -> float:
    """The two-sided point of the standard normal distribution: 1.96 for 0.95."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + confidence / 2))


def unseen_share(samples: int, confidence: float) -> float:
    """The largest share of samples that may be unlike the rest though none of these was (Clopper-Pearson).

    1 - ((1 - confidence) / 2) ** (1 / samples), about 3.7 / samples for 0.95: the "rule of three" for a
    two-sided interval (Hanley and Lippman-Hand 1983).
    """
    return float(1 - ((1 - confidence) / 2) ** (1 / samples))


@dataclass(frozen=True)
class PairedScores:
    """Scores of the same samples, 0 to 1: each pair that occurs, and how often.

    The test is Nam and Blackwelder's for the ratio of paired proportions (2002, Statistics in Medicine 21:
    689), where every score is 0 or 1: the variance is that of the likeliest distribution under the
    hypothesis. For other scores that distribution is Owen's (1988, empirical likelihood): what was seen, with
    other weights. Where nothing was seen on the other side of the hypothesis, it may also hold the worst that
    a sample can do: a right one that is wrong now may just not have been met. So identical answers are no
    proof, as they are to a Wald interval, which has width 0 there.
    """

    candidate: Scores
    baseline: Scores
    often: NDArray[np.float64]

    @classmethod
    def of(cls, candidate: Scores, baseline: Scores) -> PairedScores:
        pairs, often = np.unique(np.stack([candidate, baseline]), axis=1, return_counts=True)
        return cls(pairs[0], pairs[1], often.astype(np.float64))

    @property
    def samples(self) -> int:
        return int(self.often.sum())

    @property
    def ratio(self) -> float:
        return float(self.often @ self.candidate / (self.often @ self.baseline))

    def statistic(self, ratio: float) -> float:
        """How many standard deviations candidate - ratio * baseline lies above 0, if 0 were true."""
        differences = self.candidate - ratio * self.baseline
        shares = self.often / self.often.sum()
        mean = float(shares @ differences)
        if mean < 0:
            return -_deviations(-differences, shares, 1.0) * math.sqrt(self.samples)
        return _deviations(differences, shares, ratio) * math.sqrt(self.samples)

    def interval(self, confidence: float) -> Interval:
        """The ratios that are not refused; no narrower than `unseen_share` has it."""
        bound = critical(confidence)
        unseen = self.ratio * unseen_share(self.samples, confidence)
        low, high = self._crossing(bound), self._crossing(-bound)
        return Interval(min(low, self.ratio - unseen), max(high, self.ratio + unseen))

    def _crossing(self, bound: float) -> float:
        from scipy.optimize import brentq

        def over(logarithm: float) -> float:
            return self.statistic(math.exp(logarithm)) - bound

        low, high = math.log(_LEAST), math.log(_MOST)
        if over(low) <= 0:
            return 0.0
        return math.exp(brentq(over, low, high)) if over(high) < 0 else math.inf


def _deviations(differences: Scores, shares: Scores, worst: float) -> float:
    """A mean of 0 or more, in standard deviations that one sample has where the mean is 0.

    worst: how far below 0 a sample may lie that was not seen; it is thought of where none below 0 was seen.
    """
    from scipy.optimize import brentq

    mean = float(shares @ differences)
    if not mean:
        return 0.0
    least = float(differences.min())

    def tilted_mean(tilt: float) -> float:
        return float(shares @ (differences / (1 + tilt * differences)))

    most = (1 - 1e-9) / -least if least < 0 else 1 / worst
    tilt = brentq(tilted_mean, 0.0, most) if tilted_mean(most) < 0 else most
    weights = shares / (1 + tilt * differences)
    rest = max(0.0, 1 - float(weights.sum()))  # what the unseen has
    return mean / math.sqrt(float(weights @ differences**2) + rest * worst**2)


Quality = Callable[[NDArray[np.float64] | None], float]
"""From how often each sample counts (None: once) to a quality; NaN where that says nothing."""


@dataclass(frozen=True)
class Draws:
    """A bootstrap's draws of samples, the same for every quality (Efron and Tibshirani 1993, chapter 13).

    Koehn 2004 has the paired form for BLEU.
    """

    samples: int
    number: int = 1000
    seed: int = 0

    def of(self, *qualities: Quality, progress: Progress = silent) -> NDArray[np.float64]:
        """[draws, qualities]."""
        generator = np.random.default_rng(self.seed)
        even = np.full(self.samples, 1 / self.samples)
        values = np.empty((self.number, len(qualities)))
        for row in progress(values, "drawing samples again", self.number):
            weights = generator.multinomial(self.samples, even).astype(np.float64)
            row[:] = [quality(weights) for quality in qualities]
        return values


def percentiles(values: NDArray[np.float64], confidence: float) -> Interval:
    """Between which most values lie; one that is NaN may be anywhere."""
    rest = (1 - confidence) / 2
    low = np.quantile(np.where(np.isnan(values), -np.inf, values), rest, method="lower")
    high = np.quantile(np.where(np.isnan(values), np.inf, values), 1 - rest, method="higher")
    return Interval(float(low), float(high))
