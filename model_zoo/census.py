"""People of the 1994 US census (Adult), as the columns Wide & Deep reads (MODELS.md 16; DATA.md B2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo import tables
from model_zoo.samples import digest_of, uniforms
from model_zoo.spec import Split
from runtime.errors import StoreError, UsageError
from runtime.progress import Progress, silent
from runtime.tensors import Array

NUMBERS = ("age", "capital_gain", "capital_loss", "education_num", "hours_per_week")
"""Raw and unscaled: capital gains run to 99,999."""

VOCABULARIES: Mapping[str, tuple[str, ...]] = {
    "education": (
        "Bachelors", "HS-grad", "11th", "Masters", "9th", "Some-college", "Assoc-acdm", "Assoc-voc",
        "7th-8th", "Doctorate", "Prof-school", "5th-6th", "10th", "1st-4th", "Preschool", "12th",
    ),
    "marital_status": (
        "Married-civ-spouse", "Divorced", "Married-spouse-absent", "Never-married", "Separated",
        "Married-AF-spouse", "Widowed",
    ),
    "relationship": ("Husband", "Not-in-family", "Wife", "Own-child", "Unmarried", "Other-relative"),
    "workclass": (
        "Self-emp-not-inc", "Private", "State-gov", "Federal-gov", "Local-gov", "?", "Self-emp-inc",
        "Without-pay", "Never-worked",
    ),
}  # fmt: skip
"""Words that have a number, from 0; others have none, and the network sees no value in their column."""

OCCUPATIONS = (
    "?", "Adm-clerical", "Armed-Forces", "Craft-repair", "Exec-managerial", "Farming-fishing",
    "Handlers-cleaners", "Machine-op-inspct", "Other-service", "Priv-house-serv", "Prof-specialty",
    "Protective-serv", "Sales", "Tech-support", "Transport-moving",
)  # fmt: skip
"""All that occur. The network reads them by their hash, which any word has."""

WORDS = ("education", "marital_status", "occupation", "relationship", "workclass")

AGE_BOUNDARIES = (18, 25, 30, 35, 40, 45, 50, 55, 60, 65)

_LABEL, _RICH = "income", ">50K"

_FILE_COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
    "relationship", "race", "gender", "capital_gain", "capital_loss", "hours_per_week", "native_country",
    _LABEL,
)  # fmt: skip

_HELD_OUT = 0.2


@dataclass(frozen=True)
class People:
    """One row a person.

    numbers: float32 [people, 5], by NUMBERS.
    words:   of each of WORDS, text [people]; "" where it is missing.
    rich:    whether the income is above 50,000 dollars a year, [people].
    """

    numbers: NDArray[np.float32]
    words: Mapping[str, NDArray[np.str_]]
    rich: NDArray[np.bool_]

    @classmethod
    def from_columns(cls, columns: Mapping[str, Array]) -> People:
        """Of columns by the names of the data, with "_" or "-" between words."""
        named = {name.replace("-", "_"): column for name, column in columns.items()}
        named.setdefault("education_num", named.get("educational_num", np.zeros(0)))
        numbers = np.stack([named[name].astype(np.float32) for name in NUMBERS], axis=1)
        words = {name: named[name].astype(np.str_) for name in WORDS}
        return cls(numbers, words, named[_LABEL].astype(np.str_) == _RICH)

    def __len__(self) -> int:
        return len(self.rich)

    def __getitem__(self, rows: NDArray[np.intp]) -> People:
        """Those of these rows."""
        words = {name: column[rows] for name, column in self.words.items()}
        return People(self.numbers[rows], words, self.rich[rows])

    def of(self, split: Split) -> People:
        """A fifth, chosen by the number of a row alone, is for evaluation; the rest is to learn from."""
        held_out = uniforms(len(self), "held out") < _HELD_OUT
        return self[np.flatnonzero(held_out == (split is Split.EVALUATION))]

    @property
    def digest(self) -> str:
        """Covers all of it."""
        words = [tuple(self.words[name]) for name in WORDS]
        return digest_of(self.numbers.tobytes(), words, self.rich.tobytes())


def adult(progress: Progress = silent) -> People:
    """All 48,842 people; raises UnavailableError as `tables.people` does."""
    return People.from_columns(tables.people(progress))


def read_people(path: Path) -> People:
    """A file of the form of UCI's adult.data and adult.test: 15 values a line, apart by commas.

    Raises UsageError, naming the line, for a file of another form, StoreError where it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text: expected {_form()}") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}; give a file of people") from error
    # adult.test begins with a comment and ends its lines with a full stop
    people = [_fields(path, number, line) for number, line in enumerate(lines, 1) if "," in line]
    if not people:
        raise UsageError(f"{path} holds nobody: expected {_form()}")
    columns = np.array(people).T
    return People.from_columns(dict(zip(_FILE_COLUMNS, columns, strict=True)))


def _fields(path: Path, number: int, line: str) -> Sequence[str]:
    fields = [field.strip() for field in line.strip().removesuffix(".").split(",")]
    named = dict(zip(_FILE_COLUMNS, fields, strict=False))
    if len(fields) != len(_FILE_COLUMNS) or not all(_is_number(named[name]) for name in NUMBERS):
        raise UsageError(f"{path}, line {number}, is {line[:40]!r}: expected {_form()}")
    return fields


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _form() -> str:
    return f"{', '.join(_FILE_COLUMNS)} on each line, as UCI's adult.data has them"
