"""INT8 and FP8 as numbers: the oracles are NumPy, the format's definition and ml_dtypes' table of values."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.formats import FP8, INT8, QuantFormat
from calibration.qdq import quantise_weight
from calibration.ranges import Range

ALL_FP8 = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64)
FINITE_FP8 = np.unique(ALL_FP8[np.isfinite(ALL_FP8)])


def test_fp8_is_the_format_of_the_paper() -> None:
    """Micikevicius et al., table 1: at most 448, at least 2**-9 above 0, and no infinity."""
    assert FINITE_FP8.max() == FP8.greatest == 448
    assert FINITE_FP8[FINITE_FP8 > 0].min() == 2.0**-9
    assert not np.isinf(ALL_FP8).any()


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50))
def test_fp8_stores_the_nearest_value_and_clips_the_rest(values: list[float]) -> None:
    steps = np.array(values, np.float32)
    stored = FP8.stored(steps.copy()).astype(np.float64)
    clipped = np.clip(steps.astype(np.float64), -448, 448)
    nearest = np.abs(FINITE_FP8[:, np.newaxis] - clipped).min(axis=0)
    np.testing.assert_array_equal(np.abs(stored - clipped), nearest)


def test_a_value_halfway_goes_to_the_even_neighbour() -> None:
    assert INT8.stored(np.array([0.5, 1.5, -2.5, 300, -300], np.float32)).tolist() == [0, 2, -2, 127, -127]
    halfway = FP8.stored(np.array([17.0, 19.0, -17.0], np.float32))  # between 16, 18 and 20
    assert halfway.astype(np.float32).tolist() == [16, 20, -16]


SEEN = Range(minimum=-3.0, maximum=8.0, amax=2.0)
"""Clipped to a quarter by its calibration method."""


def test_int8_clips_where_calibration_says_and_fp8_nowhere() -> None:
    assert INT8.scale(SEEN) == float(np.float32(2 / 127))
    assert FP8.scale(SEEN) == float(np.float32(8 / 448))
    assert FP8.scale(Range(-9.0, 8.0, 2.0)) == float(np.float32(9 / 448))


@pytest.mark.parametrize("number", [INT8, FP8])
def test_zeros_alone_have_a_scale_of_one(number: QuantFormat) -> None:
    assert number.scale(Range(0.0, 0.0, 0.0)) == 1.0


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_in_fp8_have_a_scale_an_output_channel_and_three_bits_of_mantissa(axis: int) -> None:
    weight = np.random.default_rng(0).standard_normal((32, 16, 3, 3)).astype(np.float32)
    stored, scales = quantise_weight(weight, axis, FP8)
    others = tuple({0, 1, 2, 3} - {axis})
    amax = np.abs(weight).max(axis=others).astype(np.float64)
    np.testing.assert_array_equal(scales, (amax / 448).astype(np.float32))
    assert stored.dtype == ml_dtypes.float8_e4m3fn
    steps = weight / np.expand_dims(scales, others)
    normal = np.abs(steps) >= 2.0**-6
    error = np.abs(stored.astype(np.float32) - steps)[normal]
    assert error.size > 0.99 * weight.size
    assert np.all(error <= 2.0**-4 * np.abs(steps[normal]))
