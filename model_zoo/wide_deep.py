"""Wide & Deep for the census, as AI Matrix runs it: on numbered words, and on the words themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_zoo.census import AGE_BOUNDARIES, NUMBERS, People
from model_zoo.census_exam import exam_of
from model_zoo.probability import Probability
from model_zoo.spec import Ask, Counts, FeedSource, Lesson, ModelSpec, PaperRow, Told, Training, Variant
from model_zoo.wide_deep_network import AGE_COLUMN, COLUMNS, age_buckets, macs, parameters
from runtime.errors import FeedError, unknown_name
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from exporters.source import Source


def check(feed: Feed) -> None:
    """Raises FeedError for a number that its column does not have, and for a bucket that is not the age's."""
    ids = feed["ids"]
    for index, (column, size) in enumerate(COLUMNS.items()):
        wrong = np.flatnonzero((ids[:, index] < 0) | (ids[:, index] > size))
        if wrong.size:
            row = int(wrong[0])
            raise FeedError(
                f"input 'ids' is {ids[row, index]} in row {row}, column {index} ({column}), allowed 0 to"
                f" {size - 1}, or {size} for no value; number the column's values from 0"
            )
    _check_ages(feed)


def _check_ages(feed: Feed) -> None:
    ages, buckets = feed["numbers"][:, NUMBERS.index("age")], feed["ids"][:, AGE_COLUMN]
    right = age_buckets(ages)
    wrong = np.flatnonzero(buckets != right)
    if wrong.size:
        row = int(wrong[0])
        raise FeedError(
            f"input 'ids' puts an age of {ages[row]:g} into bucket {buckets[row]} in row {row}, expected"
            f" {right[row]}: boundaries are {', '.join(map(str, AGE_BOUNDARIES))}"
        )


def build(weights: Path | None) -> Source:
    """The network in TensorFlow; raises UsageError for a weights file that does not fit."""
    from model_zoo.wide_deep_seeded import weights_of
    from model_zoo.wide_deep_tensorflow import tensorflow_source

    return tensorflow_source(weights_of(weights))


def build_strings(weights: Path | None) -> Source:
    """The same with words as they are in the data for inputs; raises UsageError as `build` does."""
    from model_zoo.wide_deep_seeded import weights_of
    from model_zoo.wide_deep_strings import tensorflow_source

    return tensorflow_source(weights_of(weights))


def check_strings(feed: Feed) -> None:
    """Raises FeedError for a word whose hash the graph does not hold; see `wide_deep_strings`."""
    from model_zoo.wide_deep_strings import check as check_words

    check_words(feed)


def _feeds(framework: str) -> FeedSource:
    from model_zoo.wide_deep_feeds import number_feeds

    _check_framework(framework)
    return number_feeds()


def _string_feeds(framework: str) -> FeedSource:
    from model_zoo.wide_deep_feeds import string_feeds

    _check_framework(framework)
    return string_feeds()


def _tell(data: Path | None, ask: Ask) -> Iterator[Told]:
    from model_zoo.wide_deep_answers import tell
    from model_zoo.wide_deep_feeds import numbered

    return tell(numbered, data, ask)


def _tell_strings(data: Path | None, ask: Ask) -> Iterator[Told]:
    from model_zoo.wide_deep_answers import tell
    from model_zoo.wide_deep_feeds import worded

    return tell(worded, data, ask)


def _columns(people: People) -> Feed:
    from model_zoo.wide_deep_feeds import numbered

    return numbered(people)


def _string_columns(people: People) -> Feed:
    from model_zoo.wide_deep_feeds import worded

    return worded(people)


def _check_framework(name: str) -> None:
    if name != "tensorflow":
        raise unknown_name("framework of wide-deep", name, ("tensorflow",))


def _lesson(seed: int, progress: Progress) -> Lesson:
    from model_zoo.wide_deep_lesson import WideDeepLesson

    return WideDeepLesson.from_adult(seed, progress)


_COUNTS = {"tensorflow": Counts(parameters(), macs())}
_TASK = Probability(column=1)
_TRAINING = Training("Adult, 48,842 people of the 1994 census; a fifth of them is held out", _lesson)

_VARIANTS: Mapping[str, Variant] = {
    "": Variant(
        "Wide & Deep for Census Income: five numbers, eight columns hashed and numbered outside of the graph",
        build={"tensorflow": build},
        counts=_COUNTS,
        feeds=_feeds,
        task=_TASK,
        check=check,
        training=_TRAINING,
        tell=_tell,
        exams=(exam_of(_columns),),
    ),
    "strings": Variant(
        "Wide & Deep for Census Income: five numbers and five words, numbered by ai.onnx.ml's LabelEncoder",
        build={"tensorflow": build_strings},
        counts=_COUNTS,
        feeds=_string_feeds,
        task=_TASK,
        check=check_strings,
        tell=_tell_strings,
        exams=(exam_of(_string_columns),),
    ),
}

SPEC = ModelSpec(
    "wide-deep",
    "Wide & Deep",
    PaperRow(batch_size=2048, flops=1.30e8, seconds=0.057),
    _VARIANTS,
)
