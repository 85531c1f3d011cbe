"""MovieLens ratings as implicit feedback: each user's last movie among 99 never rated (MODELS.md 18)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.datasets.contract import DataSet, Part, Sample, Tell, text_of
from model_zoo.interactions import CANDIDATES, LeaveLastOut, read_interactions
from model_zoo.samples import uniforms
from model_zoo.spec import Split

_COLUMNS = 4
_TERMS = "GroupLens; for research, not to be passed on"


def _samples(file: str, root: Path, tell: Tell) -> Iterator[Sample]:
    """raw: the user, and the candidates [100].     truth: the place of the right one among them.

    The places are the users' own, so that scores of another user's candidates are noticed.

    Nothing is read of a file with a malformed line: what is missing may be a user's last movie.
    """
    if not _sound(root / file, tell):
        return
    rated = LeaveLastOut(read_interactions(root / file))
    for user in rated.users.tolist():
        place = int(uniforms(1, "place", user)[0] * CANDIDATES)
        candidates = np.roll(rated.candidates(user, Split.EVALUATION), place)
        yield Sample((user, candidates), place, f"user {user}")


def _sound(path: Path, tell: Tell) -> bool:
    sound, seen = True, set()
    for number, line in enumerate(text_of(path).splitlines(), 1):
        values = line.replace("::", "\t").split("\t")
        if len(values) != _COLUMNS or not all(value.isdecimal() for value in values):
            tell("a line is not user, item, rating and time", f"{path.name}, line {number}")
            sound = False
        elif (pair := (values[0], values[1])) in seen:
            tell("a user has rated a movie twice", f"{path.name}, line {number}")
        else:
            seen.add(pair)
    return sound


def _digest(raw: tuple[int, object]) -> str:
    user, candidates = raw
    return f"{user} {np.asarray(candidates).tolist()}"


def _set(name: str, title: str, folder: str, file: str, users: int) -> DataSet:
    return DataSet(
        name=name,
        title=title,
        folders=("", folder),
        parts=(Part((file,), "user, item, rating and time a line"),),
        published={folder: users},
        unit="users",
        metrics=("hr@10", "ndcg@10"),
        terms=_TERMS,
        samples=partial(_samples, file),
        digest=_digest,
    )


MOVIELENS_100K = _set("movielens-100k", "MovieLens 100K", "ml-100k", "u.data", 943)
MOVIELENS_1M = _set("movielens-1m", "MovieLens 1M", "ml-1m", "ratings.dat", 6_040)
