"""People as the feeds of Wide & Deep: words numbered and hashed here, or left to the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.census import NUMBERS, OCCUPATIONS, VOCABULARIES, WORDS, People, adult, read_people
from model_zoo.census_hashes import bucket_of, crossed_bucket_of
from model_zoo.samples import LazyFeeds, Samples, alternate, digest_of, uniforms
from model_zoo.spec import Split
from model_zoo.wide_deep_network import BUCKETS, COLUMNS, age_buckets
from runtime.errors import UnavailableError, UsageError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

Columns = Callable[[People], dict[str, Array]]
"""From people to the arrays of all samples by input."""

_SYNTHETIC_PEOPLE = 2000


def number_feeds() -> LazyFeeds:
    """float32 `numbers` [batch, 5] and int32 `ids` [batch, 8] of Adult; see wide_deep.COLUMNS.

    Calibration: people who are learned from. `with_data` takes a file of UCI's form (census.read_people).
    Without the archive: made-up people.
    """
    return _feeds(numbered)


def string_feeds() -> LazyFeeds:
    """As number_feeds, but float32 [batch] for each of census.NUMBERS, text [batch] of census.WORDS."""
    return _feeds(worded)


def numbered(people: People) -> dict[str, Array]:
    """`numbers` and `ids` of people, as the network wants them."""
    return {"numbers": people.numbers, "ids": ids_of(people)}


def worded(people: People) -> dict[str, Array]:
    """A column for each number and each word."""
    numbers = {name: people.numbers[:, index] for index, name in enumerate(NUMBERS)}
    return {**numbers, **people.words}


def ids_of(people: People) -> NDArray[np.int32]:
    """[people, 8]: the number of the value of each of wide_deep.COLUMNS, or the one after the last."""
    age = age_buckets(people.numbers[:, NUMBERS.index("age")])
    education, occupation = people.words["education"], people.words["occupation"]
    columns = {
        **{name: _numbered(people.words[name], words) for name, words in VOCABULARIES.items()},
        "occupation": _hashed(lambda words: bucket_of(str(words[0]), BUCKETS), occupation),
        "age_bucketized": age,
        "education_X_occupation": _hashed(_crossed, education, occupation),
        "age_bucketized_X_education_X_occupation": _hashed(_crossed, age, education, occupation),
    }
    return np.stack([columns[name] for name in COLUMNS], axis=1).astype(np.int32)


Row = tuple[str | int, ...]


def _crossed(row: Row) -> int:
    return crossed_bucket_of(row, BUCKETS)


def _numbered(column: Array, words: Sequence[str]) -> Array:
    numbers = {word: number for number, word in enumerate(words)}
    return np.array([numbers.get(word, len(words)) for word in column.tolist()])


def _hashed(bucket: Callable[[Row], int], *columns: Array) -> Array:
    """The bucket of each row; one with a missing word has none, as TensorFlow drops empty ones."""
    known: dict[Row, int] = {}
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    for row in dict.fromkeys(rows):
        known[row] = BUCKETS if "" in row else bucket(row)
    return np.array([known[row] for row in rows])


def _feeds(columns: Columns) -> LazyFeeds:
    def find(progress: Progress) -> Samples:
        try:
            people = adult(progress)
        except UnavailableError as error:
            made = {split: columns(_made_up(split)) for split in Split}
            origin = f"synthetic (seed 0): {error}"
            return Samples(origin, True, digest_of("made-up people", *COLUMNS), partial(_sample, made))
        origin = "Adult (Census Income), people of 1994; a fifth is held out from learning"
        return _samples(origin, people.digest, {split: people.of(split) for split in Split}, columns)

    return LazyFeeds(find, over=lambda path: _file_feeds(path, columns))


def _file_feeds(path: Path, columns: Columns) -> LazyFeeds:
    """Over a user's file; every other person is for calibration. Raises UsageError at once."""
    people = read_people(path)
    if len(people) < len(Split):
        raise UsageError(f"{path} holds one person, expected two or more: half find the ranges, half judge")
    rows = range(len(people))
    halves = {split: people[np.array(alternate(rows, split))] for split in Split}
    return LazyFeeds(
        lambda _: _samples(f"people of {path.name}", people.digest, halves, columns),
        over=lambda other: _file_feeds(other, columns),
    )


def _samples(origin: str, digest: str, people: dict[Split, People], columns: Columns) -> Samples:
    arrays = {split: columns(people[split]) for split in Split}
    inputs = sorted(arrays[Split.EVALUATION])
    return Samples(origin, False, digest_of("people", digest, inputs), partial(_sample, arrays))


def _sample(arrays: dict[Split, dict[str, Array]], split: Split, k: int) -> Feed:
    found = arrays[split]
    return {name: array[k % len(array)] for name, array in found.items()}


def _made_up(split: Split) -> People:
    """People whose numbers spread as those of Adult do, and whose words are all equally likely."""
    draws = uniforms(11 * _SYNTHETIC_PEOPLE, "people", split.value).reshape(11, -1)
    gains = np.where(draws[1] > 0.92, 10.0 ** (5 * draws[5]), 0)  # one in twelve has any
    losses = np.where(draws[2] > 0.95, 1500 + 1000 * draws[6], 0)
    numbers = [17 + 73 * draws[0] * draws[0], gains, losses, 1 + 15 * draws[3], 1 + 98 * draws[4]]
    vocabularies = {**VOCABULARIES, "occupation": OCCUPATIONS}
    words = {
        name: np.array(vocabularies[name])[(draw * len(vocabularies[name])).astype(int)]
        for name, draw in zip(WORDS, draws[5:10], strict=True)
    }
    whole = np.floor(np.stack(numbers, axis=1)).astype(np.float32)
    return People(whole, words, draws[10] > 0.75)
