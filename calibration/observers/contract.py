"""What every observer is."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np

from runtime.errors import CalibrationError
from runtime.tensors import Array


class Observer(Protocol):
    """Sees the values of one tensor as a stream; its state has a fixed size.

    What it finds depends only on which values it saw: not on their order, nor on how they were cut.
    """

    def observe(self, values: Array) -> None:
        """Take in float32 values of any shape; raises NotFiniteError for NaN or infinity."""

    def merge(self, other: Self) -> None:
        """Take in what another observer of the same kind saw."""


class NotFiniteError(CalibrationError):
    """An observer met NaN or infinity; `observe` adds which tensor and which sample that was."""


def not_finite(values: Array) -> NotFiniteError:
    """The error for values among which there is NaN or infinity."""
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    return NotFiniteError(f"{bad} NaN or infinite values of {values.size}")


class AnyOrder:
    """Base of observers to which it is all the same where in the tensor a value stands.

    ONNX Runtime then need not put the channels of an image's tensors in order.
    """
