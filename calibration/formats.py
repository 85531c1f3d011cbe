"""The numbers that quantised tensors are made of: INT8 and FP8, as Q/DQ store them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import ml_dtypes
import numpy as np
import onnx_ir as ir

from calibration.ranges import INT8_MAX, INT8_MIN, Range, symmetric_scale
from runtime.tensors import Array


class QuantFormat(Protocol):
    """A number format behind QuantizeLinear: symmetric, so that its zero point is 0."""

    @property
    def data_type(self) -> ir.DataType: ...

    @property
    def greatest(self) -> float:
        """The greatest number of scales that a weight is stored as; its negative is the least."""

    @property
    def ends(self) -> tuple[float, float]:
        """Where QuantizeLinear saturates, in scales."""

    def scale(self, seen: Range) -> float:
        """Of an activation of which that was seen; exactly a float32."""

    def stored(self, steps: Array) -> Array:
        """Values divided by their scale, as they are stored; `steps` may be overwritten."""


@dataclass(frozen=True)
class Int8:
    """Whole numbers. The magnitude is what calibration says: clipping buys finer steps."""

    data_type: ir.DataType = ir.DataType.INT8
    greatest: float = INT8_MAX
    ends: tuple[float, float] = (INT8_MIN, INT8_MAX)

    def scale(self, seen: Range) -> float:
        return seen.scale

    def stored(self, steps: Array) -> Array:
        """Rounded half to even."""
        np.rint(steps, out=steps)
        return np.clip(steps, -self.greatest, self.greatest, out=steps).astype(np.int8)


@dataclass(frozen=True)
class Float8:
    """E4M3FN: 3 bits of mantissa, from 2**-9 to 448, no infinity (Micikevicius et al., arXiv:2209.05433).

    A float has the same relative precision at every magnitude, so that clipping buys nothing and only
    loses the largest: the magnitude is the largest seen, whatever method the ranges were found with.
    """

    data_type: ir.DataType = ir.DataType.FLOAT8E4M3FN
    greatest: float = 448.0
    ends: tuple[float, float] = (-448.0, 448.0)

    def scale(self, seen: Range) -> float:
        return float(symmetric_scale(max(-seen.minimum, seen.maximum), self.greatest))

    def stored(self, steps: Array) -> Array:
        """The nearest, half to even; beyond the greatest is NaN in the format, so that it is clipped."""
        return np.clip(steps, -self.greatest, self.greatest, out=steps).astype(ml_dtypes.float8_e4m3fn)


INT8 = Int8()
FP8 = Float8()
