from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibration.observers import (
    OBSERVERS,
    ClippingObserver,
    MinMaxObserver,
    NotFiniteError,
    full_name,
    mean_squared_error,
    observer_maker,
    percentile,
)
from calibration.observers.entropy import LEVELS, bins_to_keep
from calibration.observers.histogram import BINS, MagnitudeHistogram
from calibration.ranges import Range
from runtime.errors import CalibrationError, UsageError
from runtime.tensors import Array

METHODS = pytest.mark.parametrize("method", OBSERVERS)
_STREAMS = hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e6, 1e6, width=32))


def _range(method: str, *batches: Array) -> Range:
    observer = OBSERVERS[method]("x")
    for batch in batches:
        observer.observe(batch)
    return observer.range()


def _normal(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


@METHODS
@settings(max_examples=60, deadline=None)
@given(data=st.data(), values=_STREAMS)
def test_neither_order_nor_batching_leaves_a_trace(method: str, data: st.DataObject, values: Array) -> None:
    shuffled = np.array(data.draw(st.permutations(list(values))), np.float32)
    cuts = data.draw(st.lists(st.integers(0, values.size), max_size=6).map(sorted))
    assert _range(method, *np.split(shuffled, cuts), np.empty(0, np.float32)) == _range(method, values)


@METHODS
@settings(max_examples=60, deadline=None)
@given(data=st.data(), values=_STREAMS)
def test_two_halves_merged_are_the_whole(method: str, data: st.DataObject, values: Array) -> None:
    belongs = np.array(data.draw(st.lists(st.booleans(), min_size=values.size, max_size=values.size)), bool)
    halves = [OBSERVERS[method]("x"), OBSERVERS[method]("x")]
    for observer, half in zip(halves, (values[belongs], values[~belongs]), strict=True):
        observer.observe(half)
    halves[0].merge(halves[1])
    assert halves[0].range() == _range(method, values)


@METHODS
def test_merging_leaves_the_other_as_it_was(method: str) -> None:
    one, other = OBSERVERS[method]("x"), OBSERVERS[method]("x")
    other.observe(_normal(1000))
    one.observe(_normal(1000, seed=1) * np.float32(100))
    one.merge(other)
    one.observe(_normal(1000, seed=2) * np.float32(10_000))
    assert other.range() == _range(method, _normal(1000))


@METHODS
def test_threads_at_once_leave_no_trace(method: str) -> None:
    """Observers of different tensors work at once, and share working arrays of a thread."""
    streams = [_normal(70_000, seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda values: _range(method, *np.split(values, 7)), streams))
    assert found == [_range(method, values) for values in streams]


@METHODS
def test_blocks_and_shapes_leave_no_trace(method: str) -> None:
    values = _normal(300_000)
    assert _range(method, *np.split(values, 3)) == _range(method, values.reshape(3, 100, 1000))


@settings(max_examples=60, deadline=None)
@given(_STREAMS)
def test_min_max_is_that_of_all_values_at_once(values: Array) -> None:
    for batch in (values, np.maximum(values, 0)):
        expected = Range(float(batch.min()), float(batch.max()), float(np.abs(batch).max()))
        assert _range("min-max", *batch) == expected


@settings(max_examples=60, deadline=None)
@given(_STREAMS)
def test_the_streamed_histogram_is_that_of_all_values_at_once(values: Array) -> None:
    histogram = MagnitudeHistogram()
    for value in values:
        histogram.add(value.reshape(1), float(np.abs(value)))
    magnitudes = np.abs(values[values != 0]).astype(np.float64)
    edges = np.arange(BINS + 1) * histogram.width
    assert histogram.counts.tolist() == np.histogram(magnitudes, edges)[0].tolist()
    if magnitudes.size and magnitudes.max() > 2.0**-80:  # below, bins would be finer than float32 allows
        assert BINS // 2 * histogram.width <= magnitudes.max() < BINS * histogram.width


def test_the_state_does_not_grow_with_the_stream() -> None:
    histogram = MagnitudeHistogram()
    for exponent in range(-30, 30):
        histogram.add(np.full(10, 2.0**exponent, np.float32), 2.0**exponent)
    assert vars(histogram).keys() == vars(MagnitudeHistogram()).keys()
    assert histogram.counts.shape == (BINS,)
    assert histogram.counts.sum() == 600


def _divergence(counts: Array, kept: int) -> float:
    """Migacz's definition, written out bin by bin."""
    target = counts[:kept].astype(np.float64)
    source = target.copy()
    last_level = [b for b in range(kept) if b * LEVELS // kept == LEVELS - 1]
    if counts[kept:].any() and not source[last_level].any():
        source[-1] = 1.0
    target[-1] += counts[kept:].sum()
    model = np.zeros(kept)
    for level in range(LEVELS):
        inside = [b for b in range(kept) if b * LEVELS // kept == level]
        filled = [b for b in inside if target[b] > 0]
        model[filled] = source[inside].sum() / max(len(filled), 1)
    return float(scipy.stats.entropy(target, model))


@pytest.mark.parametrize("draw", ["laplace", "normal", "sparse"])
def test_the_threshold_is_the_best_of_all_by_brute_force(draw: str) -> None:
    random = np.random.default_rng(3)
    values = {
        "laplace": random.laplace(size=4000),
        "normal": random.standard_normal(4000),
        "sparse": random.standard_cauchy(60),
    }[draw]
    counts = np.histogram(np.abs(values), 300)[0]
    by_force = {kept: _divergence(counts, kept) for kept in range(LEVELS, 301)}
    assert by_force[bins_to_keep(counts)] == pytest.approx(min(by_force.values()), abs=1e-12)


def test_a_flat_distribution_is_not_clipped() -> None:
    assert bins_to_keep(np.full(2048, 100)) == 2048
    grid = (np.arange(1, 2**17 + 1) / 2**17).astype(np.float32)
    assert _range("entropy", grid).amax == 1.0


def test_a_lone_outlier_is_clipped() -> None:
    values = np.append(_normal(200_000), np.float32(1000))
    clipped = _range("entropy", values)
    assert clipped.maximum == 1000.0
    assert clipped.amax < 100
    assert _range("min-max", values).amax == 1000.0


@pytest.mark.parametrize("exponent", [-60, -3, 1, 60])
def test_the_threshold_scales_with_the_values(exponent: int) -> None:
    values = _normal(20_000)
    factor = np.float32(2.0**exponent)
    assert _range("entropy", values * factor).amax == _range("entropy", values).amax * factor


def test_exact_zeros_do_not_move_the_threshold() -> None:
    values = np.abs(_normal(20_000)) + np.float32(0.01)
    with_zeros = _range("entropy", values, np.zeros(10**6, np.float32))
    assert with_zeros.amax == _range("entropy", values).amax
    assert with_zeros.minimum == 0.0


@METHODS
@pytest.mark.parametrize("magnitude", [1e-45, 1e-30, 3e38])
def test_the_ends_of_float32_are_in_range(method: str, magnitude: float) -> None:
    values = np.array([magnitude, -magnitude], np.float32)
    # a histogram knows a magnitude to half of its bins: BINS / 2 of them at least are in use
    assert _range(method, values).amax == pytest.approx(float(values[0]), rel=2 / BINS)


@METHODS
def test_zeros_alone_give_the_range_zero(method: str) -> None:
    for zero in (0.0, -0.0):
        assert str(_range(method, np.full(5, zero, np.float32))) == str(Range(0.0, 0.0, 0.0))


@METHODS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(method: str, bad: float) -> None:
    values = np.array([1.0, bad, 2.0], np.float32)
    with pytest.raises(NotFiniteError, match=r"^1 NaN or infinite values of 3$"):
        _range(method, values)


@METHODS
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_they_are_refused_behind_a_relu(method: str, bad: float) -> None:
    with pytest.raises(NotFiniteError, match=r"^1 NaN or infinite values of 3$"):
        _range(method, np.array([0.0, 2.0], np.float32), np.array([1.0, bad, 0.0], np.float32))


def test_a_sign_is_seen_behind_a_relu() -> None:
    non_negative = np.array([0.0, 2.0], np.float32)
    assert _range("min-max", non_negative, np.array([3.0, -0.0], np.float32)) == Range(0.0, 3.0, 3.0)
    assert _range("min-max", non_negative, np.array([1.0, -4.0], np.float32)) == Range(-4.0, 2.0, 4.0)


@METHODS
def test_a_tensor_that_was_always_empty_is_named(method: str) -> None:
    with pytest.raises(CalibrationError, match="tensor 'x' was empty in every sample"):
        _range(method, np.empty((0, 4), np.float32))


def test_observers_are_made_for_a_tensor() -> None:
    assert isinstance(OBSERVERS["min-max"]("x"), MinMaxObserver)
    assert isinstance(OBSERVERS["entropy"]("x"), ClippingObserver)


def _squared_error(values: Array, amax: float) -> float:
    step = amax / 127
    rounded = np.clip(np.rint(values / step), -127, 127) * step
    return float(np.mean((values - rounded) ** 2))


@pytest.mark.parametrize(
    "values",
    [
        _normal(50_000),
        np.maximum(_normal(50_000), 0),
        np.random.default_rng(1).standard_t(3, 50_000).astype(np.float32),
        np.random.default_rng(2).laplace(size=50_000).astype(np.float32),
    ],
    ids=["normal", "behind a ReLU", "heavy tails", "Laplace"],
)
def test_no_other_threshold_has_a_mean_squared_error_much_less(values: Array) -> None:
    """The oracle quantises the values themselves; the observer knows them to a bin."""
    found = _range("mean-squared-error", values).amax
    greatest = float(np.abs(values).max())
    least = min(_squared_error(values, amax) for amax in np.linspace(greatest / 50, greatest, 400))
    assert _squared_error(values, found) <= 1.02 * least


def test_the_mean_squared_error_keeps_values_that_entropy_clips() -> None:
    outliers = np.concatenate([_normal(100_000), np.full(100, 40, np.float32)])
    assert _range("mean-squared-error", outliers).amax == pytest.approx(40, rel=0.01)
    assert _range("entropy", outliers).amax < 10


def test_the_mean_squared_error_of_an_even_spread_is_least_where_127_and_a_half_steps_cover_it() -> None:
    """The outermost half step rounds down to level 127 as well as it would be clipped to it."""
    assert mean_squared_error.bins_to_keep(np.ones(2048)) == round(2048 * 127 / 127.5)


@pytest.mark.parametrize("percentage", [50.0, 90.0, 99.0, 99.9, 100.0])
def test_a_percentile_is_that_of_all_magnitudes_but_zeros(percentage: float) -> None:
    values = np.append(_normal(50_000), np.zeros(30_000, np.float32))
    magnitudes = np.abs(values[values != 0])
    rank = math.ceil(Fraction(str(percentage)) * len(magnitudes) / 100)
    exact = float(np.sort(magnitudes)[rank - 1])
    observer = observer_maker(f"percentile:{percentage}")("x")
    observer.observe(values)
    # known to a bin, of which at least half are in use
    assert exact <= observer.range().amax <= exact + float(magnitudes.max()) / (BINS // 2)


def test_the_fewest_bins_that_hold_the_percentage_are_kept() -> None:
    counts = np.array([50, 30, 0, 19, 1])
    kept = {p: percentile.bins_to_keep(counts, p) for p in (50, 50.1, 80, 80.1, 99, 99.1, 100)}
    assert kept == {50: 1, 50.1: 2, 80: 2, 80.1: 4, 99: 4, 99.1: 5, 100: 5}


def test_methods_have_one_name_each() -> None:
    assert [full_name(m) for m in ("entropy", "percentile", "percentile:99.90", "percentile:1e2")] == [
        "entropy", "percentile:99.99", "percentile:99.9", "percentile:100",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ("percentil:99", "unknown calibration method 'percentil': did you mean percentile"),
        ("entropy:8", "calibration method 'entropy:8': entropy takes no parameter; write entropy"),
        ("percentile:", "'percentile:': a percentile is above 0 and at most 100; .* percentile:99.99"),
        ("percentile:many", "'percentile:many': a percentile is above 0"),
        ("percentile:nan", "'percentile:nan': a percentile is above 0"),
        ("percentile:0", "'percentile:0': a percentile is above 0"),
        ("percentile:100.1", "'percentile:100.1': a percentile is above 0"),
    ],
)
def test_a_method_that_is_none_is_told_with_what_to_write(method: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        observer_maker(method)
