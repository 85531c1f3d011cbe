"""A histogram of magnitudes that grows with the stream and never needs a second pass.

The width of a bin is a power of two, so dividing by it is exact in floating point, and doubling it
merges neighbouring bins exactly. The counts are therefore those of a histogram made of all values at
once: the order of the stream and its cutting into batches leave no trace.
"""

from __future__ import annotations

import math
import threading
from typing import Self

import numpy as np

from runtime.tensors import Array

BINS = 4096
"""At least half are in use, so a magnitude is known to 1/2048 of the greatest one."""

_LOG2_BINS = BINS.bit_length() - 1
_LEAST_EXPONENT = -100
"""Finer bins would leave the range of float32; magnitudes below 2**-88 then share few bins."""

_BLOCK = 1 << 17
"""Values counted at a time: the working arrays stay in the cache."""

_SIGNED = 2 * BINS
"""Bins of a block, for negative values too: one array less than taking magnitudes."""

_COPIES = 4
"""Neighbouring values are counted apart, since many are equal and a processor waits for its own writes."""


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
        self._grow_to(max(math.frexp(magnitude)[1] - _LOG2_BINS, _LEAST_EXPONENT))
        # Blocks are cut from one contiguous run; ONNX Runtime's outputs are, so nothing is copied.
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        self.counts += _counter().counts(flat, np.float32(1.0 / self.width))

    def merge(self, other: Self) -> None:
        """Take in the values that `other` counted."""
        if other._exponent is None:
            return
        self._grow_to(other._exponent)
        counts, exponent = other.counts, other._exponent
        while self._exponent is not None and exponent < self._exponent:
            counts, exponent = _halved(counts), exponent + 1
        self.counts = self.counts + counts

    def _grow_to(self, exponent: int) -> None:
        """The least exponent that fits: it depends on the greatest magnitude alone."""
        if self._exponent is None:
            self._exponent = exponent
        while self._exponent < exponent:
            self.counts = _halved(self.counts)
            self._exponent += 1


def _halved(counts: Array) -> Array:
    """The same values in bins of twice the width."""
    merged = counts.reshape(-1, 2).sum(axis=1)
    return np.concatenate([merged, np.zeros(BINS // 2, np.int64)])


class _Counter:
    """Working arrays of one thread.

    Counting is the product of a sparse matrix, which has a one in each value's row, with the number 1:
    SciPy's is twice as fast as NumPy's bincount, and lets other threads run meanwhile.
    """

    def __init__(self) -> None:
        from scipy.sparse import csc_array

        self._filled = np.empty(_BLOCK, np.bool_)
        self._shifts = np.tile(np.arange(_COPIES, dtype=np.int32) * _SIGNED + BINS, _BLOCK // _COPIES)
        rows, ends = np.zeros(_BLOCK, np.int32), np.array([0, _BLOCK], np.int32)
        self._matrix = csc_array((np.ones(_BLOCK, np.int32), rows, ends), shape=(_COPIES * _SIGNED, 1))
        self._one = np.ones(1, np.int32)

    def counts(self, values: Array, factor: np.float32) -> Array:
        """How many `values` times `factor` have a magnitude in ]0, 1[, [1, 2[, [2, 3[, ...: int[BINS]."""
        zeros = 0
        total: Array = np.zeros(_COPIES * _SIGNED, np.int32 if values.size < 2**31 else np.int64)
        for start in range(0, values.size, _BLOCK):
            block = values[start : start + _BLOCK]
            filled = np.not_equal(block, 0, out=self._filled[: block.size])
            zeros += block.size - int(np.count_nonzero(filled))
            total += self._rows_counted(block, factor)
        signed, *copies = total.reshape(_COPIES, _SIGNED)
        for copy in copies:  # the folding takes 6 us then, 11 with a sum over the axis
            signed += copy
        counts: Array = signed[BINS:]
        counts[1:] += signed[BINS - 1 : 0 : -1]
        counts[0] -= zeros
        return counts

    def _rows_counted(self, block: Array, factor: np.float32) -> Array:
        size = block.size
        rows = self._matrix.indices[:size]
        np.multiply(block, factor, out=rows, casting="unsafe")  # in float32, then towards zero
        rows += self._shifts[:size]
        self._matrix.indptr[1] = size
        counted: Array = self._matrix @ self._one
        return counted


_THREAD = threading.local()


def _counter() -> _Counter:
    counter = getattr(_THREAD, "counter", None)
    if counter is None:
        counter = _THREAD.counter = _Counter()
    return counter
