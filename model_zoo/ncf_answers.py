"""What NCF recommends, in words: the ten best of each user's hundred candidates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from model_zoo import tables
from model_zoo.interactions import CANDIDATES, LeaveLastOut, movielens, read_interactions
from model_zoo.probability import CLICK
from model_zoo.ranking import CUT
from model_zoo.spec import Ask, Split, Told


def tell(data: Path | None, ask: Ask) -> Iterator[Told]:
    """Each user of a file of ratings, or of MovieLens 100K, with the titles of its movies.

    Raises UsageError for a file that is none, UnavailableError where there is no archive.
    """
    rated = movielens() if data is None else LeaveLastOut(read_interactions(data))
    titles = _titles() if data is None else None
    for user in rated.users.tolist():
        items = rated.candidates(user, Split.EVALUATION)
        feed = {"user": np.full(CANDIDATES, user, np.int32), "item": items.astype(np.int32)}
        outputs = ask(feed)
        CLICK.answers(outputs)  # raises for outputs that are no scores
        (scores,) = outputs.values()
        order = np.argsort(-scores, kind="stable")
        names = [titles[item] if titles else f"item {item}" for item in items[order].tolist()]
        place = int(np.flatnonzero(order == 0)[0]) + 1
        yield Told(
            f"user {user}: the {CUT} best of {CANDIDATES}",
            "; ".join(names[:CUT]),
            (f"took next: {names[place - 1]}, which is number {place}",),
        )


def _titles() -> list[str]:
    """Of the movies, in the order of their numbers: that of `interactions.movielens`."""
    movies = tables.movies()
    order = np.argsort(movies["movie_id"], kind="stable")
    return [str(title) for title in movies["movie_title"][order]]
