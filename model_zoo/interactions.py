"""Who took what, and when: ratings read as implicit feedback, split for a recommender (MODELS.md 18).

The protocol is that of He et al. 2017: the last item of each user is held out and ranked among 99 that the
user never took; everything before it is learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo import tables
from model_zoo.samples import digest_of, uniforms
from model_zoo.spec import Split
from runtime.errors import StoreError, UsageError
from runtime.progress import Progress, silent
from runtime.tensors import Array

CANDIDATES = 100
"""The right item, and 99 others."""

_BEFORE_THE_END: Mapping[Split, int] = {Split.EVALUATION: 1, Split.CALIBRATION: 2}
"""Which of a user's items a split asks for: the last, and the last that is learned from."""

_COLUMNS = ("user", "item", "rating", "time")


@dataclass(frozen=True)
class Interactions:
    """Users and items, both numbered from 0 in the order of their own numbers; int32, equally long.

    In the order of users, and of time for each; equal times as in the data. An item that a user took twice
    counts once, at its first time.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]

    @classmethod
    def from_columns(cls, users: Array, items: Array, times: Array) -> Interactions:
        """Of three columns of whole numbers."""
        order = np.lexsort((times, users))
        user = np.unique(users[order], return_inverse=True)[1].astype(np.int64)
        item = np.unique(items[order], return_inverse=True)[1].astype(np.int64)
        first = np.sort(np.unique(user * (item.max(initial=0) + 1) + item, return_index=True)[1])
        return cls(user[first].astype(np.int32), item[first].astype(np.int32))

    @property
    def user_count(self) -> int:
        return int(self.users.max(initial=-1)) + 1

    @property
    def item_count(self) -> int:
        return int(self.items.max(initial=-1)) + 1

    @property
    def digest(self) -> str:
        """Covers all of it."""
        return digest_of(self.users.tobytes(), self.items.tobytes())


def movielens(progress: Progress = silent) -> LeaveLastOut:
    """MovieLens 100K, whatever the ratings; raises UnavailableError as `tables.ratings` does."""
    table = tables.ratings(progress)
    columns = (table[name] for name in ("user_id", "movie_id", "timestamp"))
    return LeaveLastOut(Interactions.from_columns(*columns))


def read_interactions(path: Path) -> Interactions:
    """A file of MovieLens's form: user, item, rating and time a line, apart by "::", tabs, commas or spaces.

    Raises UsageError, naming the line, for a file of another form, StoreError where it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text: give a file of ratings, {_form()}") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}; give a file of ratings") from error
    rows = [_numbers(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UsageError(f"{path} holds no ratings: expected {_form()}")
    users, items, times = np.array(rows, np.int64).T
    return Interactions.from_columns(users, items, times)


def _numbers(path: Path, number: int, line: str) -> tuple[int, int, int]:
    parts = line.replace("::", " ").replace(",", " ").split()
    try:
        user, item, _, time = parts
        return int(user), int(item), int(time)
    except ValueError as error:
        raise UsageError(f"{path}, line {number}, is {line[:40]!r}: expected {_form()}") from error


def _form() -> str:
    return f"{' '.join(_COLUMNS)} in whole numbers on each line, as in MovieLens's ratings.dat and u.data"


@dataclass(frozen=True, eq=False)
class LeaveLastOut:
    """What is learned from, and the hundred candidates that each user's ranking is judged on.

    Raises UsageError where no user has two items, or one has too few left that were never taken.
    """

    interactions: Interactions

    def __post_init__(self) -> None:
        free = self.interactions.item_count - int(self._ends_and_counts[1].max(initial=0))
        needed = len(Split) * (CANDIDATES - 1)
        if not self.users.size or free < needed:
            raise UsageError(
                f"{len(self.interactions.users)} interactions of {self.interactions.user_count} users with"
                f" {self.interactions.item_count} items: expected users with two or more, and for each of"
                f" them {needed} items never taken"
            )

    @cached_property
    def users(self) -> NDArray[np.int64]:
        """Those with two items or more: one to learn from and one to be judged by."""
        return np.flatnonzero(self._ends_and_counts[1] >= len(Split))

    @cached_property
    def training(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Users and items of all interactions but the last of each user in `users`."""
        kept = np.ones(len(self.interactions.users), bool)
        kept[self._ends_and_counts[0][self.users] - 1] = False
        return self.interactions.users[kept], self.interactions.items[kept]

    def candidates(self, user: int, split: Split) -> NDArray[np.int64]:
        """[100]: the user's last item (calibration: the one before), then others; no two splits share any.

        The others are chosen by the user's number alone. `user` is one of `users`.
        """
        if user not in self._known:
            self._known[user] = self._chosen(user)
        return self._known[user][split]

    def all_candidates(self, split: Split) -> NDArray[np.int64]:
        """[users, 100]: those of every user."""
        return np.stack([self.candidates(int(user), split) for user in self.users])

    @cached_property
    def _known(self) -> dict[int, Mapping[Split, NDArray[np.int64]]]:
        return {}

    def _chosen(self, user: int) -> Mapping[Split, NDArray[np.int64]]:
        ends, counts = self._ends_and_counts
        taken = self.interactions.items[ends[user] - counts[user] : ends[user]].astype(np.int64)
        never = np.setdiff1d(np.arange(self.interactions.item_count), taken, assume_unique=True)
        others = never[np.argsort(uniforms(len(never), "never taken", user), kind="stable")]
        length = CANDIDATES - 1
        return {
            split: np.concatenate([taken[-back, np.newaxis], others[(back - 1) * length : back * length]])
            for split, back in _BEFORE_THE_END.items()
        }

    @cached_property
    def _ends_and_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each user, the place behind the last interaction, and how many there are."""
        counts = np.bincount(self.interactions.users, minlength=self.interactions.user_count)
        return np.cumsum(counts), counts
