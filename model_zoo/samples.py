"""Samples that are found when first asked for, as the feeds of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.spec import FeedSource, Split
from runtime.errors import UsageError
from runtime.progress import Progress, silent
from runtime.tensors import Feed

T = TypeVar("T")


@dataclass(frozen=True)
class Samples:
    """An endless row of samples per split; `origin`, `synthetic` and `digest` as in FeedSource.

    sample: from a split and k = 0, 1, ... to the arrays of the k-th sample, without the batch axis.
    """

    origin: str
    synthetic: bool
    digest: str
    sample: Callable[[Split, int], Feed]


class LazyFeeds:
    """The FeedSource over Samples; nothing is fetched or read before the first question.

    find: finds the samples, showing progress where it downloads.
    over: from a user's file or folder to feeds with the same preprocessing (`with_data`).
    """

    def __init__(self, find: Callable[[Progress], Samples], over: Callable[[Path], FeedSource]) -> None:
        self._find = find
        self._over = over
        self._found: Samples | None = None

    def prepare(self, progress: Progress = silent) -> Samples:
        """Find the samples now, so that a download is shown; every other question does it in silence."""
        if self._found is None:
            self._found = self._find(progress)
        return self._found

    def with_data(self, path: Path) -> FeedSource:
        """These feeds made from the user's files; raises UsageError where `path` is nothing of the kind."""
        return self._over(path)

    @property
    def origin(self) -> str:
        return self.prepare().origin

    @property
    def synthetic(self) -> bool:
        return self.prepare().synthetic

    @property
    def digest(self) -> str:
        return self.prepare().digest

    def batches(self, batch_size: int, split: Split) -> Iterator[Feed]:
        """As FeedSource.batches; raises UsageError for a batch size below 1."""
        if batch_size < 1:
            raise UsageError(f"batch size {batch_size} is not a whole number above 0")
        sample = self.prepare().sample
        return (
            _stack([sample(split, k) for k in range(start, start + batch_size)])
            for start in count(0, batch_size)
        )


def alternate(items: Sequence[T], split: Split) -> tuple[T, ...]:
    """Every other item: the first, third, ... for calibration, the rest for evaluation."""
    return tuple(items[list(Split).index(split) :: len(Split)])


def uniforms(number: int, *key: object) -> NDArray[np.float64]:
    """`number` values in [0, 1) that depend on `key` alone: the same on every machine and NumPy version."""
    stream = hashlib.shake_256(repr(key).encode()).digest(8 * number)
    numbers = np.frombuffer(stream, dtype="<u8") >> np.uint64(11)
    return numbers.astype(np.float64) * 2.0**-53


def digest_of(*parts: object) -> str:
    """Hexadecimal SHA-256 over the parts' text."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _stack(samples: list[Feed]) -> Feed:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
