"""Seeded inputs for a graph of which nothing is known but its input specs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.errors import FeedError
from runtime.tensors import Array, Feed, TensorSpec

_WHOLE_NUMBER_BOUND = 10
"""Whole numbers are 0..9: small enough to index nearly any table."""


def synthetic_feed(specs: Sequence[TensorSpec], batch_size: int, seed: int = 0) -> Feed:
    """One feed: floats from N(0, 1), masks all 1, segment or type ids and booleans 0 or 1, other
    whole numbers 0..9. The first dimension, where open, is `batch_size`; other open ones are 1.

    The same for the same arguments on every machine. Raises FeedError for a type it cannot make.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    return {spec.name: _array(spec, batch_size, generator) for spec in specs}


def _array(spec: TensorSpec, batch_size: int, generator: np.random.Generator) -> Array:
    shape = tuple(
        size if isinstance(size, int) else (batch_size if axis == 0 else 1)
        for axis, size in enumerate(spec.shape)
    )
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        import ml_dtypes

        dtype = np.dtype(getattr(ml_dtypes, spec.dtype))
    if dtype.kind in "iub":
        return generator.integers(0, _bound(spec, dtype), shape).astype(dtype)
    if dtype.kind in "fV":
        return generator.standard_normal(shape, np.float32).astype(dtype)
    raise FeedError(f"no values can be made up for input {spec}; give them with --feeds FILE.npz")


def _bound(spec: TensorSpec, dtype: np.dtype[np.generic]) -> int | np.ndarray[tuple[int], np.dtype[np.int64]]:
    name = spec.name.lower()
    if dtype.kind == "b" or "segment" in name or "type" in name:
        return 2
    return _WHOLE_NUMBER_BOUND
