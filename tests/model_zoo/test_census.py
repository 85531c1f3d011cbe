"""People of the census, and their hashes; TensorFlow's operators and feature columns are the oracle."""

from __future__ import annotations

import string
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from model_zoo.census import (
    AGE_BOUNDARIES,
    NUMBERS,
    OCCUPATIONS,
    VOCABULARIES,
    WORDS,
    People,
    adult,
    read_people,
)
from model_zoo.census_hashes import LONGEST, bucket_of, crossed_bucket_of, fingerprint
from model_zoo.spec import Split
from runtime.errors import StoreError, UnavailableError, UsageError

LINE = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0,"
    " 40, United-States, <=50K"
)
RICH = (
    "52, Self-emp-inc, 287927, HS-grad, 9, Married-civ-spouse, ?, Wife, White, Female, 15024, 0, 40, ?, >50K."
)


# Hashes


def test_words_of_every_length_hash_as_in_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow")
    generator = np.random.default_rng(0)
    letters = np.array(list(string.printable + "é"))
    words = ["".join(generator.choice(letters, length)) for length in range(LONGEST - 1) for _ in range(5)]
    words = [word for word in words if len(word.encode()) <= LONGEST]
    expected = tf.strings.to_hash_bucket_fast(words, 2**62).numpy().tolist()
    assert [bucket_of(word, 2**62) for word in words] == expected


def test_crosses_hash_as_in_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow")
    pairs = list(product(VOCABULARIES["education"], OCCUPATIONS))
    columns = [tf.constant([[word] for word in words]) for words in zip(*pairs, strict=True)]
    assert [crossed_bucket_of(pair, 1000) for pair in pairs] == _crossed(columns)
    ages = [number % 11 for number in range(len(pairs))]
    expected = _crossed([tf.constant([[age] for age in ages], tf.int64), *columns])
    assert [crossed_bucket_of((age, *pair), 1000) for age, pair in zip(ages, pairs, strict=True)] == expected


def _crossed(columns: list[object]) -> list[int]:
    import tensorflow as tf

    found: list[int] = tf.sparse.cross_hashed(columns, 1000).values.numpy().tolist()
    return found


def test_a_longer_word_than_the_hash_is_made_for_is_refused() -> None:
    with pytest.raises(UsageError, match="has 33 bytes; expected at most 32 to hash"):
        fingerprint("x" * 33)


# People


def people_of(tmp_path: Path, *lines: str) -> People:
    path = tmp_path / "adult.data"
    path.write_text("\n".join(lines))
    return read_people(path)


def test_a_file_of_uci_is_read(tmp_path: Path) -> None:
    """adult.test begins with a comment and ends its lines with a full stop."""
    people = people_of(tmp_path, "|1x3 Cross validator", LINE, RICH, "")
    assert people.numbers.tolist() == [[39, 2174, 0, 13, 40], [52, 15024, 0, 9, 40]]
    assert [people.words[name].tolist() for name in WORDS] == [
        ["Bachelors", "HS-grad"],
        ["Never-married", "Married-civ-spouse"],
        ["Adm-clerical", "?"],
        ["Not-in-family", "Wife"],
        ["State-gov", "Self-emp-inc"],
    ]
    assert people.rich.tolist() == [False, True]


@pytest.mark.parametrize("line", ["39, State-gov", LINE.replace("39", "old", 1), LINE.replace("2174", "")])
def test_a_line_of_another_form_is_named(line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"adult.data, line 2, is .*: expected age, workclass, fnlwgt"):
        people_of(tmp_path, LINE, line)


def test_files_that_hold_nobody_or_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds nobody: expected age, workclass"):
        people_of(tmp_path, "")
    path = tmp_path / "adult.data"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not text: expected age"):
        read_people(path)
    with pytest.raises(StoreError, match=r"cannot read .*none: No such file"):
        read_people(tmp_path / "none")


@pytest.fixture(scope="module")
def people() -> People:
    try:
        return adult()
    except UnavailableError as error:
        pytest.skip(str(error))


def test_adult_has_its_published_size_and_its_vocabularies(people: People) -> None:
    """UCI: 48,842 people, 23.93 % of them above 50,000 dollars."""
    assert len(people) == 48_842
    assert people.rich.mean() == pytest.approx(0.2393, abs=1e-4)
    for name, words in {**VOCABULARIES, "occupation": OCCUPATIONS}.items():
        assert set(people.words[name]) == set(words)
    assert people.numbers[:, NUMBERS.index("capital_gain")].max() == 99_999
    assert sorted(AGE_BOUNDARIES) == list(AGE_BOUNDARIES)


def test_a_fifth_is_held_out_by_a_rule_of_its_own(people: People) -> None:
    parts = {split: people.of(split) for split in Split}
    assert sum(map(len, parts.values())) == len(people)
    assert len(parts[Split.EVALUATION]) / len(people) == pytest.approx(0.2, abs=0.005)
    assert parts[Split.EVALUATION].digest == people.of(Split.EVALUATION).digest
    assert len({people.digest, *(part.digest for part in parts.values())}) == 3
