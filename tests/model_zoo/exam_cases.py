"""The questions of the exams that fetch their samples themselves, asked once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from model_zoo import catalog
from model_zoo.spec import Exam, Question, Variant
from runtime.errors import UnavailableError
from runtime.progress import silent
from runtime.tensors import Feed


def variant_of(model: str, variant: str) -> Variant:
    return catalog.get_variant(catalog.get_model(model), variant)


def exam_of(model: str, variant: str) -> Exam:
    (exam,) = variant_of(model, variant).exams
    return exam


@cache
def asked(model: str, variant: str) -> tuple[Exam, Sequence[Question]]:
    exam = exam_of(model, variant)
    try:
        return exam, list(exam.questions(None, silent))
    except UnavailableError as error:
        pytest.skip(str(error))


def rows_of(feed: Feed) -> int:
    return len(next(iter(feed.values())))


def truths_of(questions: Sequence[Question]) -> list[Any]:
    return [truth for question in questions for truth in question.truths]
