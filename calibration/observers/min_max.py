"""The least and the greatest value: no value is ever clipped."""

from __future__ import annotations

from typing import Self

import numpy as np

from calibration.observers.contract import AnyOrder, not_finite
from calibration.ranges import Range
from runtime.errors import CalibrationError
from runtime.tensors import Array

_INFINITY = np.float32(np.inf).view(np.uint32)
"""Bits of floats without a sign are in the order of the floats; what has one, or is NaN, is beyond these."""


class MinMaxObserver(AnyOrder):
    """Keeps two numbers."""

    def __init__(self, tensor: str) -> None:
        self._tensor = tensor
        self._minimum = np.inf
        self._maximum = -np.inf

    @property
    def magnitude(self) -> float:
        """The greatest absolute value so far; -inf before the first one."""
        return max(-self._minimum, self._maximum)

    def observe(self, values: Array) -> None:
        if values.size == 0:
            return
        minimum, maximum = self._extremes(values)
        if not (np.isfinite(minimum) and np.isfinite(maximum)):
            raise not_finite(values)
        self._minimum = min(self._minimum, minimum)
        self._maximum = max(self._maximum, maximum)

    def _extremes(self, values: Array) -> tuple[float, float]:
        """Of `values` and, where that saves reading them twice, of what was seen before."""
        if self._minimum == 0.0:  # so it is behind a ReLU, and stays so unless there is a sign among the bits
            greatest = values.view(np.uint32).max()
            if greatest < _INFINITY:
                return 0.0, float(greatest.view(np.float32))
        # NOTE: NumPy's min and max return NaN if any value is one; runtimes' ReduceMax need not.
        return float(values.min()), float(values.max())

    def merge(self, other: Self) -> None:
        self._minimum = min(self._minimum, other._minimum)
        self._maximum = max(self._maximum, other._maximum)

    def range(self) -> Range:
        if self._maximum < self._minimum:
            raise CalibrationError(f"tensor {self._tensor!r} was empty in every sample; add samples")
        # Adding 0.0 turns -0.0 into 0.0, which would depend on the order of the stream.
        return Range(self._minimum + 0.0, self._maximum + 0.0, self.magnitude + 0.0)
