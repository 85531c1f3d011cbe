"""Seeded inputs for a graph of which nothing is known but its input specs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.errors import FeedError
from runtime.tensors import Array, Feed, TensorSpec

_WHOLE_NUMBERS = (("mask", 1, 2), ("segment", 0, 2), ("type", 0, 2))
"""Part of an input's name, and the least and the first excluded value such inputs get."""

_ANY_WHOLE_NUMBERS = (0, 10)
"""Small enough to index nearly any table."""


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
        return generator.integers(*_bounds(spec, dtype), shape).astype(dtype)
    if dtype.kind in "fV":
        return generator.standard_normal(shape, np.float32).astype(dtype)
    raise FeedError(f"no values can be made up for input {spec}; give them with --feeds FILE.npz")


def _bounds(spec: TensorSpec, dtype: np.dtype[np.generic]) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 2
    name = spec.name.lower()
    return next(((low, high) for part, low, high in _WHOLE_NUMBERS if part in name), _ANY_WHOLE_NUMBERS)
