"""Histories of what users bought, made up after the Amazon review sets, and checks of real ones.

The review data itself cannot be had offline. What is imitated: its 5-core form, in which every user has five
reviews or more and the last one is the candidate, so that a history holds at least 4 items; a heavy tail of
long histories; items that are popular after Zipf's law; one category for each item.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.samples import uniforms
from model_zoo.seeded import seeded_uniform
from model_zoo.spec import FeedSource, Split
from runtime.errors import FeedError, UsageError
from runtime.tensors import Array, Feed

Ids = NDArray[np.int32]

SHORTEST = 4
"""Items in the history of a user with the fewest reviews of a 5-core set, all but the last."""


@dataclass(frozen=True)
class Catalogue:
    """Items 0, 1, ... from the most to the least popular, and the category of each.

    first: the first item and the first category that are real; those before it stand for nothing.
    """

    items: int
    categories: int
    first: int = 0

    def category_of_items(self) -> Ids:
        """[items]: seeded; category c is as frequent as sqrt(c + 1) - sqrt(c), from a fortieth downwards."""
        spread = seeded_uniform("behaviour/categories", (self.items,), 0, 1)
        spread *= spread
        spread *= np.float32(self.categories - self.first)
        table: Ids = spread.astype(np.int32) + np.int32(self.first)
        table[: self.first] = 0
        np.minimum(table, np.int32(self.categories - 1), out=table)  # where rounding reached the end
        return table

    def items_of(self, spread: NDArray[np.float64]) -> Ids:
        """Items after Zipf's law with exponent 1, of values in [0, 1): their ranks are log-uniform."""
        ranks = np.floor(np.exp(spread * np.log(self.items - self.first))).astype(np.int64)
        items: Ids = np.minimum(ranks - 1 + self.first, self.items - 1).astype(np.int32)
        return items


@dataclass(frozen=True)
class Moments:
    """Users at the moment of a decision; all arrays with or without an axis of samples in front.

    users: whose decision it is.         items: [candidates] that might be next.
    histories: [steps] items so far, the newest last, behind them 0.     lengths: how many those are.
    """

    users: Array
    items: Array
    histories: Array
    lengths: Array


@dataclass(frozen=True)
class Histories:
    """Made-up users, each with a history.

    users:    how many there are to be numbered.
    steps:    what every history is padded to, and cut at.
    exponent: of the Pareto law of lengths, from `shortest` on.
    """

    catalogue: Catalogue
    users: int
    steps: int
    exponent: float
    shortest: int = SHORTEST

    def moment(self, split: Split, k: int, candidates: int) -> Moments:
        """The k-th user, without an axis of samples."""
        values = uniforms(2 + candidates + self.steps, "behaviour", self.shortest, split.value, k)
        length = min(self.steps, int(self.shortest * (1 - values[0]) ** (-1 / self.exponent)))
        items = self.catalogue.items_of(values[2 : 2 + candidates + length])
        history = np.zeros(self.steps, np.int32)
        history[:length] = items[candidates:]
        user = np.int32(values[1] * self.users)
        return Moments(np.asarray(user), items[:candidates], history, np.asarray(length, np.int32))

    def others(self, split: Split, k: int, count: int) -> Ids:
        """[steps, count]: items that the k-th user did not choose."""
        values = uniforms(self.steps * count, "behaviour, others", split.value, k)
        return self.catalogue.items_of(values).reshape(self.steps, count)

    def origin(self, like: str) -> str:
        """One line for the record."""
        return (
            f"synthetic (seed 0): histories like those of {like}, {self.shortest} to {self.steps} items of"
            f" {self.catalogue.items} after Zipf's law"
        )


def check_lengths(feed: Feed, name: str, history: str) -> None:
    """Raises FeedError for a length below 0, or beyond the padded histories; 0 is a history of padding."""
    lengths, steps = feed[name], feed[history].shape[1]
    for row, length in enumerate(lengths.tolist()):
        if not 0 <= length <= steps:
            raise FeedError(
                f"input {name!r} says {length} in row {row}; {history!r} is padded to {steps} steps:"
                f" give a length from 0 to {steps}"
            )


def check_mask(feed: Feed, name: str, lengths: str) -> None:
    """Raises FeedError for a mask that is not 1 up to the length and 0 behind it."""
    mask: Array = feed[name]
    wanted = mask_of(feed[lengths], mask.shape[1])
    wrong = np.argwhere(mask != wanted)
    if len(wrong):
        row, step = (int(index) for index in wrong[0])
        raise FeedError(
            f"input {name!r} holds {mask[row, step]:g} in row {row}, step {step}, where {lengths!r} says"
            f" {int(feed[lengths][row])}; give {wanted[row, step]:g}: 1 up to the length, 0 behind it"
        )


def mask_of(lengths: Array, steps: int) -> NDArray[np.float32]:
    """[..., steps]: 1 for a behaviour, 0 for padding."""
    return (np.arange(steps) < np.asarray(lengths)[..., np.newaxis]).astype(np.float32)


def no_format(path: Path) -> FeedSource:
    """For LazyFeeds: raises UsageError, since histories have no file format of their own."""
    raise UsageError(f"{path}: histories have no file format of their own; give arrays with --feeds FILE.npz")
