"""How ranges are found: one observer per tensor, fed the tensor's values batch by batch.

An observer's state has a fixed size, and its range depends only on which values it saw: not on
their order, nor on how they were cut into batches. It does not know where the values came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from calibration.observers import entropy, mean_squared_error
from calibration.observers.clipping import ClippingObserver
from calibration.observers.min_max import MinMaxObserver
from calibration.ranges import Range
from runtime.tensors import Array

__all__ = ["OBSERVERS", "ClippingObserver", "MinMaxObserver", "Observer"]


class Observer(Protocol):
    """Sees the values of one tensor as a stream."""

    def observe(self, values: Array) -> None:
        """Take in float32 values of any shape; raises CalibrationError for NaN or infinity."""

    def range(self) -> Range:
        """What was found so far; raises CalibrationError if no value was ever seen."""


OBSERVERS: Mapping[str, Callable[[str], Observer]] = {
    "min-max": MinMaxObserver,
    "entropy": partial(ClippingObserver, bins_to_keep=entropy.bins_to_keep),
    "mean-squared-error": partial(ClippingObserver, bins_to_keep=mean_squared_error.bins_to_keep),
}
"""Method name to the maker of an observer for the tensor of that name."""
