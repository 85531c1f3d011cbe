"""MovieLens 100K as behaviour: will a user like this film, from the films they liked before (DATA.md B1)?

A rating of 4 or 5 is a like. Each of the 100,000 ratings is a sample; the last fifth of every user's ratings
is held out. Films, users and genres are numbered from 1, and 0 stands for none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from model_zoo import archives, tables
from model_zoo.behaviour import Ids, Moments
from model_zoo.samples import LazyFeeds, Samples, digest_of
from model_zoo.seeded import seeded_uniform
from model_zoo.spec import Split
from runtime.errors import UnavailableError
from runtime.progress import Progress, silent
from runtime.tensors import Feed

USERS = 944
FILMS = 1683
GENRES = 20

STEPS = 20
"""The newest likes that are looked at."""

DATA = "MovieLens 100K: likes (a rating of 4 or 5) from the 20 before; each user's last fifth is held out"

JUDGED_TOGETHER = 1024
"""Samples of a batch of those held out: what DIEN answers depends on its batch."""

_LIKED = 4
_HELD_OUT = 0.2
_NOT_GENRES = frozenset({"movie_id", "movie_title"})


@dataclass(frozen=True)
class Ratings:
    """Samples and what they are to be told from: whether each film was liked, [samples]."""

    moments: Moments
    liked: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.liked)

    def of(self, rows: NDArray[np.intp] | slice | int) -> Moments:
        """The moments of these samples, or of one without an axis of samples."""
        all_of = self.moments
        return Moments(all_of.users[rows], all_of.items[rows], all_of.histories[rows], all_of.lengths[rows])


def ratings(progress: Progress = silent) -> Mapping[Split, Ratings]:
    """For calibration what is trained on, for evaluation what is held out, each in a seeded order.

    Raises UnavailableError where the archive cannot be fetched.
    """
    archives.fetch("tables", progress)
    return _ratings()


def genre_of_films(progress: Progress = silent) -> Ids:
    """[FILMS]: the first of each film's genres, in the order of the table; raises as `ratings`."""
    archives.fetch("tables", progress)
    return _genre_of_films()


@cache
def _ratings() -> Mapping[Split, Ratings]:
    table = tables.ratings()
    users, films = table["user_id"].astype(np.int32), table["movie_id"].astype(np.int32)
    liked = table["rating"] >= _LIKED
    order = np.lexsort((table["timestamp"], users))  # stable, so that equal times keep the file's order
    users, films, liked = users[order], films[order], liked[order]
    histories, lengths, held_out = _histories(users, films, liked)
    everything = Ratings(Moments(users, films[:, np.newaxis], histories, lengths), liked)
    mixed = np.argsort(seeded_uniform("behaviour/movielens", (len(users),), 0, 1), kind="stable")
    parts = {Split.CALIBRATION: mixed[~held_out[mixed]], Split.EVALUATION: mixed[held_out[mixed]]}
    return {split: Ratings(everything.of(rows), liked[rows]) for split, rows in parts.items()}


@cache
def _genre_of_films() -> Ids:
    table = tables.movies()
    flags = np.stack([column for name, column in table.items() if name not in _NOT_GENRES], axis=1)
    genres = np.zeros(FILMS, np.int32)
    genres[table["movie_id"].astype(np.int64)] = 1 + flags.astype(bool).argmax(axis=1)
    return genres


def popularity(known: Ratings, asked: Ratings) -> NDArray[np.float64]:
    """The baseline: what share of the `known` ratings of each asked film are likes; of all where none."""
    films, liked = known.moments.items[:, 0], known.liked
    rated = np.bincount(films, minlength=FILMS)
    shares = np.bincount(films, weights=liked, minlength=FILMS) / np.maximum(rated, 1)
    shares[rated == 0] = liked.mean()
    return shares[asked.moments.items[:, 0]]


def rating_feeds(feed_of: Callable[[Moments], Feed], otherwise: LazyFeeds) -> LazyFeeds:
    """The ratings as feeds, made by `feed_of`; without the archive, `otherwise` and why."""

    def find(progress: Progress) -> Samples:
        try:
            known = ratings(progress)
            genres = genre_of_films(progress)
        except UnavailableError as error:
            made_up = otherwise.prepare()
            return Samples(f"synthetic (seed 0): {error}", True, made_up.digest, made_up.sample)

        def sample(split: Split, k: int) -> Feed:
            return feed_of(known[split].of(k % len(known[split])))

        everything = [(part.moments.items, part.moments.histories, part.liked) for part in known.values()]
        digest = digest_of(
            "movielens", [array.tobytes() for part in everything for array in part], genres.tobytes()
        )
        return Samples(DATA, False, digest, sample)

    return LazyFeeds(find, over=otherwise.with_data)


def _histories(users: Ids, films: Ids, liked: NDArray[np.bool_]) -> tuple[Ids, Ids, NDArray[np.bool_]]:
    """Of ratings in order of user and time: films liked before, how many, and whether it is held out."""
    histories, lengths = np.zeros((len(users), STEPS), np.int32), np.zeros(len(users), np.int32)
    held_out = np.zeros(len(users), bool)
    starts = np.flatnonzero(np.diff(users, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(users)], strict=True):
        held_out[stop - round(_HELD_OUT * (stop - start)) : stop] = True
        before: deque[int] = deque(maxlen=STEPS)
        for row in range(start, stop):
            lengths[row] = len(before)
            histories[row, : len(before)] = list(before)
            before.extend(islice((int(films[row]),), int(liked[row])))
    return histories, lengths, held_out
