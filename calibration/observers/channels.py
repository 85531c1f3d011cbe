"""What is found channel by channel: extremes, for scales that belong to channels, and means.

The axis of the channels may be counted from the end; the number of channels must stay the same.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np

from calibration.observers.contract import not_finite
from runtime.errors import CalibrationError
from runtime.tensors import Array


class ChannelExtremes:
    """Keeps two numbers a channel of one tensor."""

    def __init__(self, tensor: str, axis: int) -> None:
        self._tensor = tensor
        self._axis = axis
        self._minimum: Array | None = None
        self._maximum: Array | None = None

    def observe(self, values: Array) -> None:
        if values.size == 0:
            return
        rows = _by_channel(values, self._axis, self._tensor)
        self._take(rows.min(axis=(0, 2)), rows.max(axis=(0, 2)), values)

    def merge(self, other: Self) -> None:
        if other._minimum is not None and other._maximum is not None:
            self._take(other._minimum, other._maximum, other._minimum)

    @property
    def minimum(self) -> Array:
        """float32[channels]; raises CalibrationError if no value was ever seen."""
        return _seen(self._minimum, self._tensor)

    @property
    def maximum(self) -> Array:
        """float32[channels]; raises CalibrationError if no value was ever seen."""
        return _seen(self._maximum, self._tensor)

    @property
    def amax(self) -> Array:
        """The greatest magnitudes, float32[channels]; raises CalibrationError if no value was ever seen."""
        amax: Array = np.maximum(-self.minimum, self.maximum)
        return amax

    def _take(self, minimum: Array, maximum: Array, values: Array) -> None:
        if not (np.isfinite(minimum).all() and np.isfinite(maximum).all()):
            raise not_finite(values)
        if self._minimum is None or self._maximum is None:
            # Adding 0.0 turns -0.0 into 0.0, which would depend on the order of the stream.
            self._minimum, self._maximum = minimum + np.float32(0), maximum + np.float32(0)
            return
        _check_channels(len(minimum), len(self._minimum), self._tensor)
        self._minimum = np.minimum(self._minimum, minimum) + np.float32(0)
        self._maximum = np.maximum(self._maximum, maximum) + np.float32(0)


class ChannelMeans:
    """Keeps the sum of each channel of one tensor, exactly, and how many values went into it.

    Values that lie behind each other, as a channel of one image, are summed in float64, in their own order.
    These sums are added up as whole numbers of 2**-1074, which every float64 is, without rounding: so the
    means are the same to the last bit, in whatever order and batches the samples come.
    """

    def __init__(self, tensor: str, axis: int) -> None:
        self._tensor = tensor
        self._axis = axis
        self._sums: list[int] = []
        self._count = 0

    def observe(self, values: Array) -> None:
        if values.size == 0:
            return
        for rows in _by_channel(values, self._axis, self._tensor):
            sums = np.ascontiguousarray(rows).sum(axis=1, dtype=np.float64)
            if not np.isfinite(sums).all():
                raise not_finite(values)
            self._take([_whole(total) for total in sums.tolist()], rows.shape[1])

    def merge(self, other: Self) -> None:
        if other._sums:
            self._take(other._sums, other._count)

    @property
    def means(self) -> Array:
        """float64[channels], correctly rounded; raises CalibrationError if no value was ever seen."""
        if not self._sums:
            raise _unseen(self._tensor)
        return np.array([total / (self._count << _FRACTION_BITS) for total in self._sums])

    def _take(self, sums: list[int], count: int) -> None:
        if not self._sums:
            self._sums, self._count = list(sums), count
            return
        _check_channels(len(sums), len(self._sums), self._tensor)
        self._sums = [own + more for own, more in zip(self._sums, sums, strict=True)]
        self._count += count


_FRACTION_BITS = 1074
"""The least positive float64 is 2**-1074, and every finite one a whole number of it."""


def _whole(number: float) -> int:
    """`number` in units of 2**-_FRACTION_BITS, exactly."""
    numerator, denominator = number.as_integer_ratio()
    return numerator << (_FRACTION_BITS - denominator.bit_length() + 1)


def _by_channel(values: Array, axis: int, tensor: str) -> Array:
    """A view [before, channels, after]; raises CalibrationError where there is no such axis."""
    if not -values.ndim <= axis < values.ndim:
        raise CalibrationError(
            f"tensor {tensor!r} has {values.ndim} axes, and its channels were expected on axis {axis};"
            " give one of its own"
        )
    shape = values.shape
    at = axis % values.ndim
    return values.reshape(math.prod(shape[:at]), shape[at], math.prod(shape[at + 1 :]))


def _check_channels(found: int, before: int, tensor: str) -> None:
    if found != before:
        raise CalibrationError(
            f"tensor {tensor!r} has {found} channels in one sample and {before} in those before it;"
            " per-channel ranges need the same number in all"
        )


def _seen(values: Array | None, tensor: str) -> Array:
    if values is None:
        raise _unseen(tensor)
    return values


def _unseen(tensor: str) -> CalibrationError:
    return CalibrationError(f"tensor {tensor!r} was empty in every sample; add samples")
