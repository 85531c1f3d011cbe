"""How ranges are found: one observer per tensor, fed the tensor's values sample by sample.

An observer's state has a fixed size, and what it finds depends only on which values it saw: not on
their order, nor on how they were cut into batches. It does not know where the values came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from calibration.observers import entropy, mean_squared_error, percentile
from calibration.observers.channels import ChannelExtremes, ChannelMeans
from calibration.observers.clipping import ClippingObserver
from calibration.observers.contract import AnyOrder, NotFiniteError, Observer
from calibration.observers.min_max import MinMaxObserver
from calibration.ranges import Range
from runtime.errors import UsageError, unknown_name

__all__ = [
    "OBSERVERS",
    "AnyOrder",
    "ChannelExtremes",
    "ChannelMeans",
    "ClippingObserver",
    "MinMaxObserver",
    "NotFiniteError",
    "Observer",
    "RangeObserver",
    "full_name",
    "observer_maker",
]


class RangeObserver(Observer, Protocol):
    """An observer that gives the range of its tensor."""

    def range(self) -> Range:
        """What was found so far; raises CalibrationError if no value was ever seen."""


OBSERVERS: Mapping[str, Callable[[str], RangeObserver]] = {
    "min-max": MinMaxObserver,
    "percentile": partial(ClippingObserver, bins_to_keep=percentile.bins_to_keep),
    "entropy": partial(ClippingObserver, bins_to_keep=entropy.bins_to_keep),
    "mean-squared-error": partial(ClippingObserver, bins_to_keep=mean_squared_error.bins_to_keep),
}
"""Method name to the maker of an observer for the tensor of that name."""


def observer_maker(method: str) -> Callable[[str], RangeObserver]:
    """The maker for a method as users write it: a name, or `percentile:99.9`; raises UsageError."""
    name, colon, parameter = method.partition(":")
    if name not in OBSERVERS:
        raise unknown_name("calibration method", name, OBSERVERS)
    if not colon:
        return OBSERVERS[name]
    if name != "percentile":
        raise UsageError(f"calibration method {method!r}: {name} takes no parameter; write {name}")
    percentage = _percentage(method, parameter)
    return partial(ClippingObserver, bins_to_keep=partial(percentile.bins_to_keep, percentage=percentage))


def full_name(method: str) -> str:
    """The method with its parameter spelled out, so that one method has one name; raises UsageError."""
    observer_maker(method)
    name, _, parameter = method.partition(":")
    if name != "percentile":
        return name
    return f"{name}:{float(parameter or percentile.DEFAULT_PERCENTAGE):.10g}"


def _percentage(method: str, parameter: str) -> float:
    try:
        percentage = float(parameter)
    except ValueError:
        percentage = 0.0
    if not 0 < percentage <= 100:
        raise UsageError(
            f"calibration method {method!r}: a percentile is above 0 and at most 100; write it as"
            f" percentile:{percentile.DEFAULT_PERCENTAGE}"
        )
    return percentage
