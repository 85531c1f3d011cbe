"""The clipping threshold whose INT8 version tells the distribution of magnitudes best.

Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017, slides 26-38: among all thresholds, the
one with the least Kullback-Leibler divergence from the clipped distribution (outliers piled onto its
last bin) to its requantisation on 128 levels. Three traps of that pseudocode are avoided: exact zeros
are not counted (they are free at every scale and would drown the rest); the levels divide the bins
evenly instead of giving the last one the remainder; and a last level that is empty but for outliers
counts as holding one value, or a single outlier would make every threshold below it infinitely bad.
"""

from __future__ import annotations

import numpy as np

from runtime.tensors import Array

LEVELS = 128
"""Magnitudes 0..127 of INT8."""


def bins_to_keep(counts: Array) -> int:
    """How many of the first bins to keep: the greatest of the best, at least LEVELS."""
    used = int(np.flatnonzero(counts)[-1]) + 1
    candidates = np.arange(min(LEVELS, used), used + 1)
    divergences = _divergences(counts[:used].astype(np.float64), candidates)
    return int(candidates[::-1][np.argmin(divergences[::-1])])


def _divergences(counts: Array, kept: Array) -> Array:
    """KL(P || Q) in nats for every number of kept bins at once, from cumulative sums.

    With i bins kept, S_j the sum and N_j the number of filled bins of level j, o the outliers:
    P is counts[:i] with o added to its last bin, and Q is S_j / N_j in each filled bin of level j, so
    KL = (sum_b P_b ln P_b - sum_j P_j ln(S_j / N_j)) / T - ln T + ln sum_j S_j, with T = sum(P).
    """
    total = counts.sum()
    last = counts[kept - 1]
    outliers = total - np.cumsum(counts)[kept - 1]
    edges = -(-kept[:, None] * np.arange(LEVELS + 1) // LEVELS)
    sums = np.diff(_running(counts)[edges], axis=1)
    filled = np.diff(_running(counts > 0)[edges], axis=1)
    filled[:, -1] += (last == 0) & (outliers > 0)
    clipped = sums.copy()
    clipped[:, -1] += outliers
    empty = (sums[:, -1] == 0) & (outliers > 0)
    sums[:, -1] += empty
    own = _running(_x_log_x(counts))[kept] - _x_log_x(last) + _x_log_x(last + outliers)
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.where(clipped > 0, clipped * np.log(sums / filled), 0.0)
        divergence = (own - levels.sum(axis=1)) / total - np.log(total) + np.log(total - outliers + empty)
    return np.where(np.isfinite(divergence), divergence, np.inf)


def _running(values: Array) -> Array:
    """Sums of the first 0, 1, 2, ... values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _x_log_x(values: Array) -> Array:
    return values * np.log(np.maximum(values, 1.0))
