"""What DIN and DIEN are judged on: the last fifth of what each user of MovieLens 100K rated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from model_zoo.behaviour import Moments
from model_zoo.behaviour_movielens import DATA, JUDGED_TOGETHER, ratings
from model_zoo.exam_parts import column_of, refuse_folder, slices
from model_zoo.spec import Exam, Labels, Question, Split
from runtime.progress import Progress
from runtime.tensors import Array, Feed

Reader = Callable[[Progress], Callable[[Moments], Feed]]
"""Fetches what else a network reads; gives what makes its feed of moments."""


def exam_of(reader: Reader, output: str = "") -> Exam:
    """For a network whose output, the only one or of that name, has the chance of a like in front."""
    return Exam(
        data=DATA,
        labels=Labels.REAL,
        metrics=("auc", "binary-accuracy"),
        questions=partial(_questions, reader),
        answers=partial(_answers, output),
        say=_said,
    )


def _questions(reader: Reader, folder: Path | None, progress: Progress) -> Iterator[Question]:
    """Raises UnavailableError where the archive cannot be fetched, or another set is given."""
    refuse_folder(folder, "likes of MovieLens 100K")
    asked, feed_of = ratings(progress)[Split.EVALUATION], reader(progress)
    for rows in slices(len(asked), JUDGED_TOGETHER):
        moments = asked.of(rows)
        users, films = moments.users.tolist(), moments.items[:, 0].tolist()
        yield Question(
            feed_of(moments),
            asked.liked[rows].tolist(),
            [f"user {user}, film {film}" for user, film in zip(users, films, strict=True)],
        )


def _answers(output: str, feed: Feed, outputs: Mapping[str, Array]) -> Sequence[float]:
    chances: list[float] = column_of(feed, outputs, output=output).tolist()
    return chances


def _said(what: bool | float) -> str:
    if isinstance(what, bool):
        return "liked" if what else "not liked"
    return f"a like by {what:.1%}"
