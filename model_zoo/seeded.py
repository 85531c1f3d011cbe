"""Seeded tensors that are the same bytes on every machine.

Only the raw words of the Philox counter generator (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011), whole-number arithmetic and single IEEE operations are used: no libm, no reductions, and
none of NumPy's distributions, whose streams may change from one version to the next (NEP 19).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes: TensorFlow uses memory of others as it lies where it begins at a multiple of them."""

_CHUNK = 1 << 16  # words held at a time: they and their halves stay in the second-level cache
_PAIRS = np.uint64(0x0000FFFF0000FFFF)
_SUM_BITS = np.uint64(0x3FFFF)
_SUM_MEAN = np.int32(2 * 0xFFFF)
_SUM_DEVIATION = math.sqrt((2.0**32 - 1) / 3)  # four uniform 16-bit integers: 4 * (2**32 - 1) / 12
_UNIT = np.float32(2.0**-24)  # a float32 holds every multiple of it below 1


def seeded_normal(name: str, shape: Sequence[int], seed: int = 0) -> NDArray[np.float32]:
    """Values near N(0, 1): the normalised sum of four uniform 16-bit integers (within 3.47 deviations).

    `name` and `seed` choose the stream, so a tensor does not depend on what else is drawn, or in which
    order. The fourth moment is 2.7 where a normal's is 3.
    """
    scale = np.float32(1 / _SUM_DEVIATION)

    def normal(words: NDArray[np.uint64]) -> NDArray[np.float32]:
        pairs = (words & _PAIRS) + ((words >> np.uint64(16)) & _PAIRS)
        sums = ((pairs + (pairs >> np.uint64(32))) & _SUM_BITS).astype(np.int32)
        values: NDArray[np.float32] = (sums - _SUM_MEAN).astype(np.float32) * scale
        return values

    return _filled(name, shape, seed, normal)


def seeded_uniform(
    name: str, shape: Sequence[int], low: float, high: float, seed: int = 0
) -> NDArray[np.float32]:
    """Values spread evenly over [low, high), on a grid of 2**24 steps."""

    def uniform(words: NDArray[np.uint64]) -> NDArray[np.float32]:
        unit = (words >> np.uint64(40)).astype(np.float32) * _UNIT
        return unit * np.float32(high - low) + np.float32(low)

    return _filled(name, shape, seed, uniform)


def _aligned(size: int) -> NDArray[np.float32]:
    """An empty array that begins at a multiple of ALIGNMENT bytes, which NumPy's own need not."""
    memory = np.empty(4 * size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + 4 * size].view(np.float32)


def _filled(
    name: str,
    shape: Sequence[int],
    seed: int,
    values_of: Callable[[NDArray[np.uint64]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    result = _aligned(math.prod(shape))
    for start in range(0, result.size, _CHUNK):
        part = result[start : start + _CHUNK]
        part[:] = values_of(generator.random_raw(part.size))
    return result.reshape(tuple(shape))
