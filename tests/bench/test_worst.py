"""Which samples came out worse, and when two answers are the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from bench.worst import Worst, same_answer, says_the_same
from model_zoo.metrics import get_measure
from model_zoo.spec import Exam, Labels, Question

LINE = np.arange(1, 5, dtype=np.float32)


@dataclass(frozen=True)
class Box:
    corners: Any
    name: str


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (LINE, LINE * (1 + 5e-5), True),
        (LINE, LINE * (1 + 5e-4), False),
        (LINE, LINE[:3], False),
        (np.array([1, 2]), np.array([1, 2]), True),
        (np.array([1, 2]), np.array([1, 3]), False),
        ("a b", "a b", True),
        ("a b", "a  b", False),
        (None, None, True),
        (None, LINE, False),
        ((1.0, "x"), (1.0, "x"), True),
        ((1.0, "x"), (1.0,), False),
        (Box(LINE, "cat"), Box(LINE.copy(), "cat"), True),
        (Box(LINE, "cat"), Box(LINE, "dog"), False),
        (0.5, float("nan"), False),
    ],
)
def test_answers_are_the_same_but_for_rounding(first: Any, second: Any, same: bool) -> None:
    assert same_answer(first, second) is same


def _exam(metric: str) -> Exam:
    return Exam(
        "made up", Labels.REAL, (metric,), lambda folder, progress: iter(()), lambda feed, outputs: []
    )


def test_the_worst_lost_most_and_what_was_won_is_not_listed() -> None:
    """CER of a word: two wrong letters of four lose more than one; a word that is right now loses nothing."""
    measure = get_measure("character-error-rate")
    question = Question({}, ["word", "word", "word", "word"], ["a", "b", "c", "d"])
    worst = Worst(_exam(measure.name), measure, 2)
    answers = [("word", "wort"), ("word", "wxyd"), ("wort", "word"), ("word", "word")]
    for place, (before, after) in enumerate(answers):
        worst.add(question, place, before, after)
    assert [(each.asked, each.after) for each in worst.listed()] == [("b", "wxyd"), ("a", "wort")]
    assert worst.changed == 3


def test_answers_that_read_the_same_are_no_change() -> None:
    exam = replace(_exam("auc"), say=lambda answer: f"{answer:.3f}")
    assert says_the_same(exam, 1e-6, 3e-6)  # 0.000 of a reader's
    assert not says_the_same(exam, 0.5, 0.6)
    assert not says_the_same(exam, None, 0.5)
    assert says_the_same(exam, None, None)


def test_of_equal_losses_the_first_come_first() -> None:
    measure = get_measure("word-accuracy")
    question = Question({}, ["x"] * 5, list("abcde"))
    worst = Worst(_exam(measure.name), measure, 3)
    for place in range(5):
        worst.add(question, place, "x", "y")
    assert [each.asked for each in worst.listed()] == ["a", "b", "c"]


def test_where_a_sample_has_no_score_it_is_how_far_its_number_moved() -> None:
    measure = get_measure("auc")
    question = Question({}, [True, False, True], ["a", "b", "c"])
    worst = Worst(_exam(measure.name), measure, 2)
    for place, (before, after) in enumerate([(0.9, 0.8), (0.1, 0.5), (0.7, 0.7)]):
        worst.add(question, place, before, after)
    assert [each.asked for each in worst.listed()] == ["b", "a"]
