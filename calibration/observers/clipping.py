"""Sees values as a histogram of magnitudes and clips where a criterion says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from calibration.observers.contract import AnyOrder
from calibration.observers.histogram import MagnitudeHistogram
from calibration.observers.min_max import MinMaxObserver
from calibration.ranges import Range
from runtime.tensors import Array


class ClippingObserver(AnyOrder):
    """Keeps a histogram of fixed size.

    bins_to_keep: from the counts of a MagnitudeHistogram to how many of its first bins are not clipped.
    """

    def __init__(self, tensor: str, bins_to_keep: Callable[[Array], int]) -> None:
        self._extremes = MinMaxObserver(tensor)
        self._histogram = MagnitudeHistogram()
        self._bins_to_keep = bins_to_keep

    def observe(self, values: Array) -> None:
        self._extremes.observe(values)
        if values.size:
            self._histogram.add(values, self._extremes.magnitude)

    def merge(self, other: Self) -> None:
        self._extremes.merge(other._extremes)
        self._histogram.merge(other._histogram)

    def range(self) -> Range:
        seen = self._extremes.range()
        if seen.amax == 0.0:
            return seen
        threshold = self._bins_to_keep(self._histogram.counts) * self._histogram.width
        return Range(seen.minimum, seen.maximum, min(threshold, seen.amax))
