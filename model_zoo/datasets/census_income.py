"""UCI's Census Income (Adult): people to judge by in adult.test, and to learn from in adult.data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.census import NUMBERS, People
from model_zoo.datasets.contract import DataSet, Part, Sample, Tell, text_of

_COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
    "relationship", "race", "gender", "capital_gain", "capital_loss", "hours_per_week", "native_country",
    "income",
)  # fmt: skip
"""In the order of the file; adult.names calls gender "sex"."""


def _samples(file: str, root: Path, tell: Tell) -> Iterator[Sample]:
    """raw: People, one of them.     truth: whether the income is above 50,000 dollars."""
    for number, line in enumerate(text_of(root / file).splitlines(), 1):
        if not line.strip() or line.startswith("|"):  # the first is a comment
            continue
        values = [value.strip() for value in line.strip().removesuffix(".").split(",")]
        named = dict(zip(_COLUMNS, values, strict=False))
        if len(values) != len(_COLUMNS) or not all(named[name].isdecimal() for name in NUMBERS):
            tell("a line is not 15 values of a person", f"{file}, line {number}")
        elif named["income"] not in ("<=50K", ">50K"):
            tell("an income is neither <=50K nor >50K", f"{file}, line {number}: {named['income']}")
        else:
            person = People.from_columns({name: np.array([value]) for name, value in named.items()})
            yield Sample(person, bool(person.rich[0]), f"line {number}")


def _set(name: str, title: str, file: str, people: int) -> DataSet:
    return DataSet(
        name=name,
        title=title,
        folders=("", "adult", "census_data"),
        parts=(Part((file,), "15 values of a person a line"),),
        published={file: people},
        unit="people",
        metrics=("binary-accuracy", "auc"),
        terms="UCI; CC BY 4.0",
        samples=partial(_samples, file),
        digest=lambda person: person.digest,
        amounts=lambda sample: {"above 50K": int(sample.truth)},
    )


CENSUS_INCOME = _set("census-income", "Census Income (Adult), test", "adult.test", 16_281)
CENSUS_INCOME_TRAINING = _set(
    "census-income-training", "Census Income (Adult), training", "adult.data", 32_561
)
