from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibration.observers import ChannelExtremes, ChannelMeans, NotFiniteError
from runtime.errors import CalibrationError
from runtime.tensors import Array

_BATCHES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5)),
    elements=st.floats(-(2.0**120), 2.0**120, width=32),
)
_KINDS = pytest.mark.parametrize("kind", [ChannelExtremes, ChannelMeans])


def _state(observer: ChannelExtremes | ChannelMeans) -> list[list[float]]:
    if isinstance(observer, ChannelMeans):
        return [observer.means.tolist()]
    return [observer.minimum.tolist(), observer.maximum.tolist(), observer.amax.tolist()]


@settings(max_examples=60, deadline=None)
@given(_BATCHES)
def test_extremes_are_those_of_numpy(values: Array) -> None:
    observer = ChannelExtremes("x", axis=1)
    observer.observe(values)
    assert observer.minimum.tolist() == values.min(axis=(0, 2)).tolist()
    assert observer.maximum.tolist() == values.max(axis=(0, 2)).tolist()
    assert observer.amax.tolist() == np.abs(values).max(axis=(0, 2)).tolist()


@settings(max_examples=60, deadline=None)
@given(_BATCHES)
def test_means_are_the_exact_ones_of_the_samples_sums(values: Array) -> None:
    observer = ChannelMeans("x", axis=1)
    observer.observe(values)
    sums = values.astype(np.float64).sum(axis=2)
    count = values.shape[0] * values.shape[2]
    for channel, mean in enumerate(observer.means.tolist()):
        exact = math.fsum(sums[:, channel]) / count
        assert mean == pytest.approx(exact, rel=2**-52, abs=0)


def test_a_great_value_does_not_swallow_small_ones() -> None:
    observer = ChannelMeans("x", axis=1)
    for value in (1.0, 2.0**100, 1.0, -(2.0**100)):
        observer.observe(np.full((1, 1, 1), value, np.float32))
    assert observer.means.tolist() == [0.5]


@_KINDS
@settings(max_examples=60, deadline=None)
@given(data=st.data(), values=_BATCHES)
def test_order_batches_and_halves_leave_no_trace(
    kind: type[ChannelExtremes | ChannelMeans], data: st.DataObject, values: Array
) -> None:
    whole = kind("x", 1)
    whole.observe(values)
    order = data.draw(st.permutations(range(len(values))))
    cuts = data.draw(st.lists(st.integers(0, len(values)), max_size=4).map(sorted))
    parts = [kind("x", 1) for _ in range(len(cuts) + 1)]
    for observer, part in zip(parts, np.split(values[order], cuts), strict=True):
        observer.observe(part)
    first, *others = parts
    for other in others:
        first.merge(other)  # type: ignore[arg-type]
    assert _state(first) == _state(whole)


@_KINDS
@pytest.mark.parametrize("axis", [-1, 2])
def test_the_axis_may_be_counted_from_the_end(kind: type[ChannelExtremes | ChannelMeans], axis: int) -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32)
    turned = kind("x", 1)
    turned.observe(values.transpose(0, 2, 1))
    observer = kind("x", axis)
    observer.observe(values)
    np.testing.assert_allclose(_state(observer), _state(turned), rtol=1e-12)


@_KINDS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(kind: type[ChannelExtremes | ChannelMeans], bad: float) -> None:
    with pytest.raises(NotFiniteError, match=r"^1 NaN or infinite values of 4$"):
        kind("x", 1).observe(np.array([[1, 2], [bad, 3]], np.float32))


@_KINDS
def test_an_axis_that_is_not_there_is_told(kind: type[ChannelExtremes | ChannelMeans]) -> None:
    with pytest.raises(CalibrationError, match="'x' has 2 axes, and its channels were expected on axis 2"):
        kind("x", 2).observe(np.ones((1, 2), np.float32))


@_KINDS
def test_another_number_of_channels_is_told(kind: type[ChannelExtremes | ChannelMeans]) -> None:
    observer = kind("x", 1)
    observer.observe(np.ones((1, 2), np.float32))
    with pytest.raises(CalibrationError, match="'x' has 3 channels in one sample and 2 in those before"):
        observer.observe(np.ones((1, 3), np.float32))


@_KINDS
def test_a_tensor_that_was_always_empty_is_named(kind: type[ChannelExtremes | ChannelMeans]) -> None:
    observer = kind("x", 1)
    observer.observe(np.ones((0, 2), np.float32))
    with pytest.raises(CalibrationError, match="tensor 'x' was empty in every sample"):
        _state(observer)
