"""Statistics of raw samples: pure functions, each with the definition it follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

THROUGHPUT_BATCHES = 20
"""Batch means: 10 to 30 batches is what Schmeiser (1982, Operations Research 30(3)) found to be enough."""


@dataclass(frozen=True)
class Interval:
    """A two-sided interval, both ends included."""

    low: float
    high: float


def percentile(samples: Sequence[int], share: float) -> int:
    """Nearest rank: the smallest sample that at least `share` (0..1) of the samples do not exceed.

    Always a sample that was seen, as in MLPerf's load generator; never interpolated.
    """
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median_interval(samples: Sequence[int]) -> tuple[int, int]:
    """95 % confidence interval of the median from order statistics (Conover, 1999, section 3.2).

    Distribution-free: the ranks come from the binomial distribution B(n, 1/2). Below six samples
    no pair of ranks reaches 95 %, and the interval is the whole range.
    """
    from scipy.special import bdtr

    ordered = sorted(samples)
    count = len(ordered)
    below = np.flatnonzero(bdtr(np.arange(count // 2 + 1, dtype=float), count, 0.5) <= 0.025)
    rank = int(below[-1]) if below.size else 0
    return ordered[rank], ordered[count - 1 - rank]


def throughput(starts_ns: Sequence[int], wall_ns: int, per_query: int) -> tuple[float, Interval | None]:
    """Samples per second over the wall window, and its 95 % interval from batch means.

    starts_ns: when each query of the window started; wall_ns: length of the window; per_query:
    samples in a query. The window is cut into runs of consecutive queries; the times they took
    vary independently enough for Student's t. No interval below two queries a batch, nor where the
    batches differ so much that it would have no upper end.
    """
    from scipy.special import stdtrit

    count = len(starts_ns)
    rate = count * per_query * 1e9 / wall_ns
    size = count // THROUGHPUT_BATCHES
    if size < 2:
        return rate, None
    edges = [*starts_ns[: THROUGHPUT_BATCHES * size : size]]
    edges.append(starts_ns[THROUGHPUT_BATCHES * size] if count > THROUGHPUT_BATCHES * size else wall_ns)
    seconds = np.diff(np.asarray(edges, dtype=float)) / 1e9
    half = float(stdtrit(THROUGHPUT_BATCHES - 1, 0.975) * seconds.std(ddof=1) / math.sqrt(THROUGHPUT_BATCHES))
    mean = float(seconds.mean())
    if half >= mean:
        return rate, None
    work = size * per_query
    return rate, Interval(work / (mean + half), work / (mean - half))


def wilson(successes: float, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (1927); (0, 1) where nothing was tried.

    A trial may be a success in part: values within 0..1 vary least often more than all-or-nothing ones of
    the same mean, p (1 - p) being the most their variance can be, so the interval is no narrower than due.
    """
    if trials == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, z2 = successes / trials, z * z
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = z / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def drift(samples: Sequence[int]) -> float:
    """Relative change of the median from the first half of the samples to the second."""
    half = len(samples) // 2
    if half == 0:
        return 0.0
    first = float(np.median(samples[:half]))
    return float(np.median(samples[half:])) / first - 1.0 if first > 0 else 0.0
