"""Statistics against closed forms, SciPy's own versions and published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench import stats


@pytest.mark.parametrize("count", [1, 2, 9, 10, 100, 101])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
def test_percentile_is_the_nearest_rank_of_numpy(count: int, share: float) -> None:
    samples = np.random.default_rng(count).integers(1, 10**6, count)
    expected = np.percentile(samples, 100 * share, method="inverted_cdf")
    assert stats.percentile(samples.tolist(), share) == expected


@pytest.mark.parametrize("count", [1, 5, 6, 10, 50, 333, 5000])
def test_median_interval_is_the_one_scipy_finds(count: int) -> None:
    samples = np.random.default_rng(count).integers(1, 10**9, count)
    expected = scipy_stats.quantile_test(samples, q=np.median(samples), p=0.5).confidence_interval(0.95)
    low, high = stats.median_interval(samples.tolist())
    assert low == (expected.low if math.isfinite(expected.low) else samples.min())
    assert high == (expected.high if math.isfinite(expected.high) else samples.max())


def test_median_interval_covers_the_true_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    draws = generator.exponential(1e6, size=(2000, 60)).astype(int)
    true_median = 1e6 * math.log(2)
    covered = sum(
        low <= true_median <= high for low, high in (stats.median_interval(row.tolist()) for row in draws)
    )
    assert covered / len(draws) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / len(draws))


@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 1), (1, 1), (0, 10), (9, 10), (63, 64), (64, 64), (500, 1000)]
)
def test_wilson_is_scipys(successes: int, trials: int) -> None:
    expected = scipy_stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    found = stats.wilson(successes, trials)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_tried_says_nothing() -> None:
    assert stats.wilson(0, 0) == stats.Interval(0.0, 1.0)


def test_throughput_counts_the_time_between_queries() -> None:
    starts = [index * 1_000_000 for index in range(100)]  # each query may have taken a microsecond
    rate, interval = stats.throughput(starts, 100_000_000, per_query=4)
    assert rate == pytest.approx(4_000)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((4_000, 4_000))


def test_throughput_interval_is_students_t_over_batch_means() -> None:
    generator = np.random.default_rng(3)
    durations = generator.integers(900, 1100, size=400)
    starts = np.concatenate([[0], np.cumsum(durations)[:-1]])
    wall = int(durations.sum())
    _, interval = stats.throughput(starts.tolist(), wall, per_query=1)
    batches = durations.reshape(20, 20).sum(axis=1) / 1e9
    expected = scipy_stats.t.interval(0.95, 19, loc=batches.mean(), scale=scipy_stats.sem(batches))
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((20 / expected[1], 20 / expected[0]))


def test_throughput_interval_uses_whole_batches_only() -> None:
    starts = [index * 1_000 for index in range(59)]
    rate, interval = stats.throughput(starts, 59_000, per_query=1)
    assert interval is not None
    assert rate == pytest.approx(1e6)
    assert interval.low == pytest.approx(1e6)


def test_throughput_of_few_queries_has_no_interval() -> None:
    assert stats.throughput([0, 10, 20], 30, per_query=1)[1] is None


def test_one_batch_that_took_all_the_time_leaves_no_interval() -> None:
    starts = [0, *range(10**9, 10**9 + 39)]
    assert stats.throughput(starts, 10**9 + 40, per_query=1)[1] is None


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([100] * 4 + [110] * 4, 0.10), ([100] * 8, 0.0), ([5], 0.0), ([0, 0, 1, 1], 0.0)],
)
def test_drift_is_the_change_of_the_halves_medians(samples: list[int], expected: float) -> None:
    assert stats.drift(samples) == pytest.approx(expected)
