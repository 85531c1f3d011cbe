"""What Wide & Deep is judged on: the fifth of Adult's people that its lesson holds out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.census import People, adult
from model_zoo.exam_parts import batched, column_of, slices
from model_zoo.spec import Exam, Labels, Question, Split
from model_zoo.wide_deep_answers import ABOVE, described
from runtime.progress import Progress
from runtime.tensors import Array, Feed

_BATCH = 512

Columns = Callable[[People], Feed]
"""From people to the inputs of a network (wide_deep_feeds)."""


def exam_of(columns: Columns) -> Exam:
    """For a network with these inputs; a data set is UCI's adult.test."""
    return Exam(
        data="Adult, people of the 1994 census: a fifth of 48,842, held out of learning",
        labels=Labels.REAL,
        metrics=("binary-accuracy", "auc"),
        questions=partial(_questions, columns),
        answers=_answers,
        say=_said,
    )


def _questions(columns: Columns, folder: Path | None, progress: Progress) -> Iterator[Question]:
    """Raises UnavailableError where Adult cannot be fetched, UsageError for a folder without it."""
    for people in _held_out(progress) if folder is None else _of_folder(folder):
        yield Question(columns(people), people.rich.tolist(), [described(one) for one in _each(people)])


def _held_out(progress: Progress) -> Iterator[People]:
    people = adult(progress).of(Split.EVALUATION)
    return (people[np.arange(rows.start, rows.stop)] for rows in slices(len(people), _BATCH))


def _of_folder(folder: Path) -> Iterator[People]:
    from model_zoo.datasets import samples

    for part in batched(samples("census-income", folder), _BATCH):
        people: list[People] = [sample.raw for sample in part]
        words = {name: np.concatenate([one.words[name] for one in people]) for name in people[0].words}
        numbers = np.concatenate([one.numbers for one in people])
        yield People(numbers, words, np.concatenate([one.rich for one in people]))


def _each(people: People) -> Iterator[People]:
    return (people[np.array([row])] for row in range(len(people)))


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[float]:
    chances: list[float] = column_of(feed, outputs, ABOVE).tolist()
    return chances


def _said(what: bool | float) -> str:
    if isinstance(what, bool):
        return "more than 50,000 dollars" if what else "not more than 50,000 dollars"
    return f"more than 50,000 dollars by {what:.1%}"
