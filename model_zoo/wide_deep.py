"""Wide & Deep as data (Cheng et al. 2016, "Wide & deep learning for recommender systems"), for the census.

The columns and sizes are those of TensorFlow's official model, which AI Matrix runs (MODELS.md 16). Names of
tensors are those of its Estimator's checkpoints. Batches are not mentioned: every count is of one person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_zoo.census import AGE_BOUNDARIES, NUMBERS, VOCABULARIES, People
from model_zoo.census_exam import exam_of
from model_zoo.probability import Probability
from model_zoo.spec import Ask, Counts, FeedSource, Lesson, ModelSpec, PaperRow, Told, Training, Variant
from runtime.errors import FeedError, unknown_name
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from exporters.source import Source

Shape = tuple[int, ...]

BUCKETS = 1000
"""Of the hashed column and of each crossed one."""

COLUMNS: Mapping[str, int] = {
    **{name: len(words) for name, words in VOCABULARIES.items()},
    "occupation": BUCKETS,
    "age_bucketized": len(AGE_BOUNDARIES) + 1,
    "education_X_occupation": BUCKETS,
    "age_bucketized_X_education_X_occupation": BUCKETS,
}
"""The wide part's columns in the order of the input `ids`, and how many values each has, numbered from 0.

The number after the last says that the column has no value: a word that is in no vocabulary, or is missing.
"""

AGE_COLUMN = tuple(COLUMNS).index("age_bucketized")

UNITS: Mapping[str, float] = {
    "age": 64.0,
    "capital_gain": 8192.0,
    "capital_loss": 512.0,
    "education_num": 16.0,
    "hours_per_week": 64.0,
}
"""What numbers are measured in where they must be of one scale: powers of two near root mean squares.

A number divided by its unit, and the weights it meets multiplied with it, give the very same sums.
"""

EMBEDDING_SIZE = 8
"""Of an occupation."""

DEEP_INPUTS: Mapping[str, int] = {
    "age": 1,
    "capital_gain": 1,
    "capital_loss": 1,
    "education": COLUMNS["education"],
    "education_num": 1,
    "hours_per_week": 1,
    "marital_status": COLUMNS["marital_status"],
    "occupation_embedding": EMBEDDING_SIZE,
    "relationship": COLUMNS["relationship"],
    "workclass": COLUMNS["workclass"],
}
"""What the deep part reads, side by side, and how many values each brings: an Estimator sorts by name."""

HIDDEN = (100, 75, 50, 25)

BIAS = "linear/linear_model/bias_weights"
EMBEDDING = "dnn/input_from_feature_columns/input_layer/occupation_embedding/embedding_weights"
LOGITS = "dnn/logits"
LAYERS = tuple(f"dnn/hiddenlayer_{index}" for index in range(len(HIDDEN)))


def wide_name(column: str) -> str:
    """The tensor of a wide column's weights, [values, 1]."""
    return f"linear/linear_model/{column}/weights"


def shapes() -> dict[str, Shape]:
    """Every tensor and its shape; kernels are [inputs, outputs]."""
    found: dict[str, Shape] = {wide_name(column): (size, 1) for column, size in COLUMNS.items()}
    found |= {BIAS: (1,), EMBEDDING: (BUCKETS, EMBEDDING_SIZE)}
    widths = (sum(DEEP_INPUTS.values()), *HIDDEN, 1)
    for name, inputs, outputs in zip((*LAYERS, LOGITS), widths[:-1], widths[1:], strict=True):
        found |= {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}
    return found


def parameters() -> int:
    """Learned parameters."""
    return sum(int(np.prod(shape)) for shape in shapes().values())


def macs() -> int:
    """Multiply-accumulates of one person: the deep part's, as the wide one adds up gathered weights."""
    return sum(int(np.prod(shape)) for name, shape in shapes().items() if name.endswith("kernel"))


def units_of_inputs() -> NDArray[np.float32]:
    """[51, 1]: the unit of each input of the deep part, 1 for all but the numbers."""
    units = [np.full(width, UNITS.get(name, 1.0), np.float32) for name, width in DEEP_INPUTS.items()]
    return np.concatenate(units)[:, np.newaxis]


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


def age_buckets(ages: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bucket of each age: a boundary belongs to what is above it."""
    return np.searchsorted(AGE_BOUNDARIES, ages, side="right")


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
