"""What goes into a graph and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import FeedError

Array = NDArray[Any]
Feed = Mapping[str, Array]
"""One query's inputs: input name to array."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, NumPy dtype name and shape of a graph's input or output.

    A dimension is a whole number, or a name where the graph leaves it open ("batch").
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{','.join(map(str, self.shape))}]"


def batch_size(feed: Feed) -> int:
    """The first dimension of the feed's first array (1 for a scalar)."""
    first = next(iter(feed.values()))
    return int(first.shape[0]) if first.ndim else 1


def open_dimensions(specs: Sequence[TensorSpec], feed: Feed) -> dict[str, int]:
    """The sizes that a checked feed gives to the dimensions its specs leave open, by name."""
    return {
        dimension: size
        for spec in specs
        for dimension, size in zip(spec.shape, feed[spec.name].shape, strict=True)
        if isinstance(dimension, str)
    }


def check_feed(feed: Feed, specs: Sequence[TensorSpec]) -> None:
    """Raise FeedError unless `feed` gives every input its dtype, a fitting shape and finite values."""
    missing = [spec.name for spec in specs if spec.name not in feed]
    extra = sorted(set(feed) - {spec.name for spec in specs})
    if missing or extra:
        raise FeedError(
            f"feed has inputs {sorted(feed)}, the graph wants {[s.name for s in specs]}"
            f" (missing {missing}, unknown {extra})"
        )
    bound: dict[str, int] = {}
    for spec in specs:
        _check_array(feed[spec.name], spec, bound)


def _check_array(array: Array, spec: TensorSpec, bound: dict[str, int]) -> None:
    if not (array.dtype.kind == "U" if spec.dtype == "str" else array.dtype == np.dtype(spec.dtype)):
        raise FeedError(f"input {spec.name!r} is {array.dtype}, the graph wants {spec.dtype}")
    fits = len(array.shape) == len(spec.shape) and all(
        bound.setdefault(want, got) == got if isinstance(want, str) else want == got
        for want, got in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise FeedError(
            f"input {spec.name!r} has shape {list(array.shape)}, the graph wants {list(spec.shape)}"
            + (f" with {bound}" if bound else "")
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.size(array) - np.count_nonzero(np.isfinite(array)))
        raise FeedError(f"input {spec.name!r} holds {bad} NaN or infinite values; clean the feed")
