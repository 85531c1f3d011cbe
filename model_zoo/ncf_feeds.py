"""Users and items as the feeds of NCF: a user's hundred candidates, an item taken and 99 that were not.

The suite evaluates one user's hundred after the other. Here the next row is of the next user, and a round
over all users takes another candidate of each: 64 rows of one user would find the ranges of that one alone
(INT8 then has 12.5 dB instead of 31), and 256 would judge by three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_zoo.interactions import CANDIDATES, LeaveLastOut, movielens, read_interactions
from model_zoo.ncf_network import Ncf
from model_zoo.samples import LazyFeeds, Samples, digest_of, uniforms
from model_zoo.spec import Split
from runtime.errors import UnavailableError, UsageError
from runtime.progress import Progress
from runtime.tensors import Feed

_STRIDE = 7919
"""A prime: rank times stride, modulo the items, is each item once, and what is popular lies scattered."""


def zipf_feeds(network: Ncf) -> LazyFeeds:
    """`user` and `item`, int32 [batch], made up; `with_data` takes a file as ratings_file_feeds does."""
    origin = "synthetic (seed 0): users in turn, items by the log-uniform ranks of Zipf's law"
    return LazyFeeds(lambda _: _zipf(network, origin), over=lambda path: ratings_file_feeds(network, path))


def movielens_feeds(network: Ncf) -> LazyFeeds:
    """`user` and `item`, int32 [batch], of MovieLens 100K, by `interactions.LeaveLastOut`.

    Calibration: the last but one movie of each user, which is learned from. Without the archive: as
    `zipf_feeds`, with the reason. `with_data` takes a file of ratings.
    """

    def find(progress: Progress) -> Samples:
        try:
            rated = movielens(progress)
        except UnavailableError as error:
            return _zipf(network, f"synthetic (seed 0): {error}")
        return _rated(rated, "MovieLens 100K: the last movie a user rated, then 99 never rated")

    return LazyFeeds(find, over=lambda path: ratings_file_feeds(network, path))


def ratings_file_feeds(network: Ncf, path: Path) -> LazyFeeds:
    """As movielens_feeds, over a user's own ratings; see `interactions.read_interactions` for the file.

    Raises UsageError at once for a file that is none, or holds more users or items than the tables.
    """
    rated = LeaveLastOut(read_interactions(path))
    for kind, found, rows in (
        ("users", rated.interactions.user_count, network.users),
        ("items", rated.interactions.item_count, network.items),
    ):
        if found > rows:
            raise UsageError(
                f"{path} holds {found} {kind}, the network's tables have {rows}; give fewer, or take another"
                " variant"
            )
    origin = f"ratings of {path.name}: the last item of a user, then 99 never rated"
    return LazyFeeds(lambda _: _rated(rated, origin), over=lambda other: ratings_file_feeds(network, other))


def _rated(rated: LeaveLastOut, origin: str) -> Samples:
    users = rated.users

    def sample(split: Split, k: int) -> Feed:
        turn, place = _turn_and_place(k, len(users))
        user = int(users[turn])
        return _row(user, int(rated.candidates(user, split)[place]))

    return Samples(origin, False, digest_of("leave last out", rated.interactions.digest), sample)


def _turn_and_place(k: int, users: int) -> tuple[int, int]:
    """Whose turn row k is, and which of the hundred; each pair once before any comes again."""
    turn = k % users
    return turn, (turn + k // users) % CANDIDATES


def _zipf(network: Ncf, origin: str) -> Samples:
    digest = digest_of("zipf", network.users, network.items)
    return Samples(origin, True, digest, _ZipfSample(network.users, network.items))


@dataclass(frozen=True)
class _ZipfSample:
    """Even users for one split, odd ones for the other; raises UsageError where there are too few."""

    users: int
    items: int

    def __post_init__(self) -> None:
        if self.users < len(Split) or math.gcd(self.items, _STRIDE) > 1:
            raise UsageError(
                f"{self.users} users and {self.items} items cannot be made up: expected two or more users,"
                f" and items not divisible by {_STRIDE}"
            )

    def __call__(self, split: Split, k: int) -> Feed:
        turn, place = _turn_and_place(k, self.users // len(Split))
        user = turn * len(Split) + list(Split).index(split)
        return _row(user, _zipf_item(self.items, user, place))


def _zipf_item(items: int, user: int, place: int) -> int:
    """The log-uniform ranks of Zipf's law."""
    rank = int(float(items) ** float(uniforms(1, "zipf", items, user, place)[0]))
    return (rank - 1) * _STRIDE % items


def _row(user: int, item: int) -> Feed:
    return {"user": np.array(user, np.int32), "item": np.array(item, np.int32)}
