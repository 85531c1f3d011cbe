"""A histogram of magnitudes that grows with the stream and never needs a second pass.

The width of a bin is a power of two, so dividing by it is exact in floating point, and doubling it
merges neighbouring bins exactly. The counts are therefore those of a histogram made of all values at
once: the order of the stream and its cutting into batches leave no trace.
"""

from __future__ import annotations

import math

import numpy as np

from runtime.tensors import Array

BINS = 4096
"""At least half are in use, so a magnitude is known to 1/2048 of the greatest one."""

_LOG2_BINS = BINS.bit_length() - 1
_LEAST_EXPONENT = -100
"""Finer bins would leave the range of float32; magnitudes below 2**-88 then share few bins."""

_BLOCK = 1 << 16
"""Values counted at a time: the working arrays stay in the cache."""


class MagnitudeHistogram:
    """Counts of |x| in bins of width 2**exponent, exact zeros apart.

    Zeros are left out because they are exact at every scale; after a ReLU they are half of all values.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self._exponent: int | None = None

    @property
    def width(self) -> float:
        return math.ldexp(1.0, self._exponent if self._exponent is not None else _LEAST_EXPONENT)

    def add(self, values: Array, magnitude: float) -> None:
        """Count finite float32 `values`, none of which is beyond `magnitude`."""
        if magnitude == 0.0:
            return
        self._grow_to(magnitude)
        # A block is cut from one contiguous run; ONNX Runtime's outputs are, so nothing is copied.
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            self._count(flat[start : start + _BLOCK])

    def _grow_to(self, magnitude: float) -> None:
        """The least exponent that fits: it depends on the greatest magnitude alone."""
        needed = max(math.frexp(magnitude)[1] - _LOG2_BINS, _LEAST_EXPONENT)
        if self._exponent is None:
            self._exponent = needed
        while self._exponent < needed:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([merged, np.zeros(BINS // 2, np.int64)])
            self._exponent += 1

    def _count(self, block: Array) -> None:
        scaled = np.abs(block)
        scaled *= np.float32(1.0 / self.width)
        self.counts += np.bincount(scaled.astype(np.intp), minlength=BINS)
        self.counts[0] -= block.size - np.count_nonzero(block)
