"""Shows one tensor to several observers: an Inception module's convolutions all read the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from calibration.observers.contract import Observer
from runtime.tensors import Array


@dataclass(frozen=True)
class Several:
    """An observer that stands for others; of two that are merged the kinds are the same, one by one."""

    observers: Sequence[Observer]

    def observe(self, values: Array) -> None:
        for observer in self.observers:
            observer.observe(values)

    def merge(self, other: Several) -> None:
        for mine, others in zip(self.observers, other.observers, strict=True):
            mine.merge(others)
