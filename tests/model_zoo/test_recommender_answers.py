"""What recommenders say in words, by a network whose answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from model_zoo import ncf_answers, wide_deep_answers
from model_zoo.catalog import get_model
from model_zoo.wide_deep_feeds import numbered, worded
from runtime.errors import CheckFailed, GraphError, UnavailableError, UsageError
from runtime.tensors import Array, Feed


def by_number(feed: Feed) -> Mapping[str, Array]:
    """The higher an item's number the better."""
    return {"logit": feed["item"].astype(np.float32)}


def test_the_ten_best_of_a_hundred_candidates_are_told_and_where_the_right_one_is(tmp_path: Path) -> None:
    lines = [f"1 {item} 5 {item}" for item in range(1, 4)] + [f"2 {item} 5 {item}" for item in range(4, 220)]
    (tmp_path / "ratings.dat").write_text("\n".join([*lines, "3 300 5 1", "3 301 5 2"]), encoding="utf-8")
    with pytest.raises(UsageError, match="items never taken"):
        list(ncf_answers.tell(tmp_path / "ratings.dat", by_number))
    rows = [f"{1 + item // 2} {item} 5 {item}" for item in range(400)]
    (tmp_path / "ratings.dat").write_text("\n".join(rows), encoding="utf-8")
    told = next(ncf_answers.tell(tmp_path / "ratings.dat", by_number))
    best = [int(name.removeprefix("item ")) for name in told.answer.split("; ")]
    assert told.asked == "user 0: the 10 best of 100"
    assert best == sorted(best, reverse=True)
    assert len(best) == 10
    # user 0 took items 0 and 1, in this order, and all other candidates have higher numbers
    assert told.more == ("took next: item 1, which is number 100",)


def test_movies_are_told_by_their_titles() -> None:
    try:
        told = next(ncf_answers.tell(None, by_number))
    except UnavailableError as error:
        pytest.skip(str(error))
    assert len(told.answer.split("; ")) == 10
    assert all(title.endswith(")") for title in told.answer.split("; "))  # "Toy Story (1995)"


def test_scores_that_are_none_are_refused(tmp_path: Path) -> None:
    rows = [f"{1 + item // 2} {item} 5 {item}" for item in range(400)]
    (tmp_path / "r.dat").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(CheckFailed, match="it decides nothing"):
        next(ncf_answers.tell(tmp_path / "r.dat", lambda feed: {"logit": np.full(100, np.nan, np.float32)}))
    with pytest.raises(GraphError, match="one output"):
        next(ncf_answers.tell(tmp_path / "r.dat", lambda feed: {}))


PERSON = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0,"
    " 40, United-States, <=50K"
)
OTHER = "50, Private, 83311, HS-grad, 9, Divorced, ?, Husband, Black, Female, 0, 0, 13, Cuba, >50K."


@pytest.mark.parametrize(("columns", "inputs"), [(numbered, {"numbers", "ids"}), (worded, None)])
def test_people_are_told_one_by_one(columns: object, inputs: set[str] | None, tmp_path: Path) -> None:
    (tmp_path / "adult.data").write_text(f"{PERSON}\n{OTHER}\n", encoding="utf-8")
    asked: list[Feed] = []

    def ask(feed: Feed) -> Mapping[str, Array]:
        asked.append(feed)
        return {"probabilities": np.array([[0.25, 0.75]], np.float32)}

    told = list(wide_deep_answers.tell(columns, tmp_path / "adult.data", ask))  # type: ignore[arg-type]
    assert [each.more for each in told] == [("had not more",), ("had more",)]
    assert told[0].answer == "more than 50,000 dollars a year (75.0% for more)"
    assert told[0].asked.startswith("39 years, ")
    assert "Bachelors" in told[0].asked
    if inputs is not None:
        assert set(asked[0]) == inputs
    assert all(len(array) == 1 for array in asked[0].values())


@pytest.mark.parametrize(
    ("model", "variant"), [("ncf", "movielens-100k"), ("wide-deep", ""), ("wide-deep", "strings")]
)
def test_a_seeded_network_tells_of_real_samples(model: str, variant: str) -> None:
    described = get_model(model).variants[variant]
    source = described.build["tensorflow"](None)
    assert described.tell is not None
    try:
        told = list(islice(described.tell(None, source.run), 2))
    except UnavailableError as error:
        pytest.skip(str(error))
    assert len({each.asked for each in told}) == 2
