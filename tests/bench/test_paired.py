"""Paired intervals against closed forms, a likelihood maximised by SciPy, and how often they are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.optimize import minimize

from bench.paired import Draws, PairedScores, critical, percentiles, unseen_share

RIGHT = (np.array([1.0, 0, 1, 0]), np.array([1.0, 1, 0, 0]))
"""Both right, baseline only, candidate only, neither."""


def table(*often: int) -> PairedScores:
    return PairedScores(*RIGHT, np.array(often, np.float64))


@pytest.mark.parametrize("samples", [1, 10, 300, 5000])
def test_what_was_never_seen_is_bounded_as_clopper_and_pearson_do(samples: int) -> None:
    interval = scipy_stats.binomtest(0, samples).proportion_ci(0.95, method="exact")
    assert unseen_share(samples, 0.95) == pytest.approx(interval.high)


def test_the_rule_of_three() -> None:
    """Hanley and Lippman-Hand 1983: 3 / n for a one-sided 95 %, which is a two-sided 90 %."""
    assert unseen_share(1000, 0.90) == pytest.approx(3 / 1000, rel=5e-3)


def test_the_normal_points_are_scipys() -> None:
    assert critical(0.95) == pytest.approx(scipy_stats.norm.ppf(0.975))


@pytest.mark.parametrize("samples", [20, 381, 5000])
def test_identical_right_answers_have_the_score_interval_in_closed_form(samples: int) -> None:
    """n / (n + z^2), as Wilson's for n of n."""
    ones = np.ones(samples)
    paired = PairedScores.of(ones, ones)
    expected = scipy_stats.binomtest(samples, samples).proportion_ci(0.95, method="wilson").low
    assert paired.statistic(expected) == pytest.approx(critical(0.95))
    assert paired.interval(0.95).low == pytest.approx(min(expected, 1 - unseen_share(samples, 0.95)))


def test_a_loss_too_small_to_tell_of_larger_ones_does_not_stand_for_them() -> None:
    """One sample of 100 lost a thousandth: larger losses may be unseen, and three in 100 are no proof."""
    baseline, candidate = np.ones(100), np.ones(100)
    candidate[0] = 0.999
    assert PairedScores.of(candidate, baseline).interval(0.95).low < 0.965


@pytest.mark.parametrize(
    ("often", "ratio"),
    [
        ((70, 8, 3, 19), 0.99),
        ((70, 8, 3, 19), 0.8),
        ((300, 0, 4, 10), 0.99),
        ((300, 4, 0, 10), 0.999),
        ((50, 0, 0, 50), 0.9),
    ],
)
def test_the_statistic_is_the_score_test_at_the_likeliest_table(often: tuple[int, ...], ratio: float) -> None:
    """Nam and Blackwelder 2002: the variance is that of the multinomial whose ratio is the one tested."""
    counts, differences = np.array(often, float), RIGHT[0] - ratio * RIGHT[1]

    def unlikeliness(shares: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return -float(counts @ np.log(np.maximum(shares, 1e-300)))

    # SLSQP may stop early, from which start depends on the processor: the likeliest that several find counts.
    starts = [np.full(4, 0.25), *((counts + prior) / (counts + prior).sum() for prior in (0.1, 1.0, 10.0))]
    tables = [
        minimize(
            unlikeliness,
            start,
            method="SLSQP",
            bounds=[(1e-9, 1)] * 4,
            constraints=[
                {"type": "eq", "fun": lambda shares: shares.sum() - 1},
                {"type": "eq", "fun": lambda shares: shares @ differences},
            ],
            options={"maxiter": 500, "ftol": 1e-12},
        ).x
        for start in starts
    ]
    sound = [x for x in tables if abs(x.sum() - 1) < 1e-6 and abs(x @ differences) < 1e-6]
    likeliest = min(sound, key=unlikeliness)
    # under the hypothesis the variance of candidate - ratio * baseline is ratio * (p10 + p01)
    variance = ratio * (likeliest[1] + likeliest[2])
    total = counts.sum()
    expected = float(counts @ differences) / total / math.sqrt(variance / total)
    assert table(*often).statistic(ratio) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("often", [(700, 30, 25, 245), (95, 2, 3, 0), (40, 0, 0, 60), (0, 50, 0, 50)])
def test_an_interval_holds_the_ratio_and_is_refused_just_outside(often: tuple[int, ...]) -> None:
    paired = table(*often)
    interval = paired.interval(0.95)
    ratio = (often[0] + often[2]) / (often[0] + often[1])
    assert interval.low <= ratio <= interval.high
    assert abs(paired.statistic(interval.high)) == pytest.approx(critical(0.95), rel=1e-3)
    if interval.low:
        assert paired.statistic(interval.low) == pytest.approx(critical(0.95), rel=1e-3)


def test_many_pairs_have_the_ordinary_paired_interval() -> None:
    """Where nothing is rare the statistic is the paired t-test's (Fieller 1954)."""
    generator = np.random.default_rng(0)
    baseline = generator.random(4000)
    candidate = np.clip(baseline + generator.normal(0, 0.05, 4000), 0, 1)
    expected = scipy_stats.ttest_1samp(candidate - 0.99 * baseline, 0).statistic
    assert PairedScores.of(candidate, baseline).statistic(0.99) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("samples", "right", "lost"),
    [(500, 0.8, 0.02), (1000, 0.75, 0.03), (400, 0.99, 0.0099), (381, 1.0, 0.01)],
)
def test_a_true_ratio_at_the_gate_passes_no_more_often_than_promised(
    samples: int, right: float, lost: float
) -> None:
    generator = np.random.default_rng(1)
    gained = max(0.0, lost - 0.01 * right)
    shares = [right - lost, lost, gained, max(0.0, 1 - right - gained)]
    ratio = (right - lost + gained) / right
    draws = generator.multinomial(samples, np.array(shares) / sum(shares), 1000)
    passed = np.mean([table(*row).statistic(ratio) >= critical(0.95) for row in draws])
    assert passed <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1000)


def test_draws_of_a_mean_have_its_standard_error() -> None:
    values = np.random.default_rng(2).random(200)
    draws = Draws(200, number=2000).of(lambda weights: float(np.average(values, weights=weights)))
    assert draws.shape == (2000, 1)
    assert draws.mean() == pytest.approx(values.mean(), abs=0.005)
    assert draws.std() == pytest.approx(values.std() / math.sqrt(200), rel=0.1)


def test_draws_are_the_same_again_and_the_same_for_every_quality() -> None:
    def size(weights: object) -> float:
        return float(np.asarray(weights)[0])

    draws = Draws(50, number=20)
    first = draws.of(size, size)
    assert (first[:, 0] == first[:, 1]).all()
    assert (first == draws.of(size, size)).all()


def test_a_draw_that_says_nothing_may_be_anywhere() -> None:
    values = np.concatenate([np.full(900, 1.0), np.full(100, np.nan)])
    interval = percentiles(values, 0.95)
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    assert percentiles(np.arange(1001.0), 0.95).low == 25
