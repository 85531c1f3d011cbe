"""Samples for a graph the zoo does not know: a file of the user's, or made up from its input specs."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model_zoo.spec import FeedSource, Split
from runtime.errors import FeedError, StoreError, UsageError
from runtime.files import sha256_of_file
from runtime.synthetic import synthetic_feed
from runtime.tensors import Array, Feed, TensorSpec, check_feed

_SPLIT_SEEDS = {Split.CALIBRATION: 1_000_003, Split.EVALUATION: 2_000_003}
"""Far apart, so that no sample of one split is a sample of the other."""


def fixed_batch(specs: Sequence[TensorSpec]) -> int | None:
    """The batch size a graph insists on, or None where every input leaves its first dimension open."""
    if all(spec.shape and isinstance(spec.shape[0], str) for spec in specs):
        return None
    whole = [spec.shape[0] for spec in specs if spec.shape and isinstance(spec.shape[0], int)]
    return whole[0] if whole else 1


def check_batch(specs: Sequence[TensorSpec], batch_size: int) -> None:
    """Raise UsageError where a graph cannot take this batch size."""
    fixed = fixed_batch(specs)
    if fixed not in (None, batch_size):
        raise UsageError(
            f"--batch {batch_size}, but the graph's inputs fix it: {', '.join(map(str, specs))};"
            f" leave --batch out, or export the graph with an open first dimension"
        )


@dataclass(frozen=True)
class SyntheticFeeds:
    """Seeded random samples that fit the input specs (runtime.synthetic)."""

    specs: tuple[TensorSpec, ...]
    seed: int
    synthetic: bool = field(default=True, init=False)

    @property
    def origin(self) -> str:
        return f"synthetic (seed {self.seed}): made from the graph's input specs"

    @property
    def digest(self) -> str:
        return f"synthetic-{self.seed}"

    def batches(self, batch_size: int, split: Split) -> Iterator[Feed]:
        check_batch(self.specs, batch_size)
        seed = self.seed * 7_919 + _SPLIT_SEEDS[split]
        if fixed_batch(self.specs) is not None:
            while True:
                yield synthetic_feed(self.specs, batch_size, seed)
                seed += 1
        while True:
            samples = [synthetic_feed(self.specs, 1, seed + index) for index in range(batch_size)]
            seed += batch_size
            yield {
                spec.name: np.concatenate([sample[spec.name] for sample in samples]) for spec in self.specs
            }


@dataclass(frozen=True)
class ArrayFeeds:
    """Samples out of arrays that hold one or more of them, used in turn.

    With two or more samples the even ones calibrate and the odd ones judge; a single one does both.
    Where the graph fixes its batch the arrays are one feed.
    """

    specs: tuple[TensorSpec, ...]
    arrays: Feed
    origin: str
    digest: str
    synthetic: bool = False

    def batches(self, batch_size: int, split: Split) -> Iterator[Feed]:
        check_batch(self.specs, batch_size)
        if fixed_batch(self.specs) is not None:
            while True:
                yield self.arrays
        rows = self._rows(split)
        position = 0
        while True:
            chosen = [rows[(position + index) % len(rows)] for index in range(batch_size)]
            position += batch_size
            yield {name: np.ascontiguousarray(array[chosen]) for name, array in self.arrays.items()}

    def distinct(self, split: Split) -> int:
        """How many samples the split holds before they come round again."""
        return fixed_batch(self.specs) or len(self._rows(split))

    def _rows(self, split: Split) -> list[int]:
        count = len(next(iter(self.arrays.values())))
        rows = list(range(count))
        return rows if count == 1 else rows[0 if split is Split.CALIBRATION else 1 :: 2]


def available(feeds: FeedSource, split: Split, wanted: int) -> int:
    """`wanted`, or fewer where a file holds fewer: a sample met twice is no further evidence."""
    return min(wanted, feeds.distinct(split)) if isinstance(feeds, ArrayFeeds) else wanted


def read_npz(path: Path, specs: tuple[TensorSpec, ...]) -> ArrayFeeds:
    """Samples from an .npz file with one array an input.

    Raises StoreError (unreadable), UsageError (not an .npz of plain arrays) and FeedError (names,
    dtypes, shapes or values that do not fit the graph).
    """
    arrays = _arrays(path)
    try:
        check_feed(arrays, specs)
    except FeedError as error:
        raise FeedError(f"--feeds {path}: {error}") from error
    if any(len(array) == 0 for array in arrays.values() if array.ndim):
        raise FeedError(
            f"--feeds {path} holds no sample: {', '.join(map(str, specs))} wants at least one row"
        )
    return ArrayFeeds(specs, arrays, origin=f"{path.name} given by --feeds", digest=sha256_of_file(path))


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise UsageError(_not_npz(path, "it is not a zip file"))
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise StoreError(f"cannot read --feeds {path}: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError) as error:
        raise UsageError(_not_npz(path, str(error))) from error
    strangers = [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]
    if strangers:  # NumPy hands a member that is no array on as its bytes
        raise UsageError(_not_npz(path, f"{strangers[0]!r} in it is no array"))
    return arrays


def _not_npz(path: Path, reason: str) -> str:
    return (
        f"--feeds {path} is not an .npz of plain arrays ({reason});"
        " write it with numpy.savez(file, **{input_name: array})"
    )
