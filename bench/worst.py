"""The samples that came out worse than with FP32: what was asked, what was right, and both answers."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from model_zoo.metrics import Measure
from model_zoo.spec import Exam, Question
from runtime.tensors import Array

SAME_RELATIVE = 1e-4
"""The bound of every export's parity with its framework."""


@dataclass(frozen=True)
class Changed:
    """One sample. `lost` is of its own score, or how far a number moved where a sample has no score."""

    asked: str
    truth: str
    before: str
    after: str
    lost: float
    picture: Array | None = None


class Worst:
    """Keeps the `count` samples that lost most."""

    def __init__(self, exam: Exam, measure: Measure, count: int) -> None:
        self._exam = exam
        self._measure = measure
        self._count = count
        self._heap: list[tuple[float, int, Changed]] = []
        self._seen = 0
        self.changed = 0

    def add(self, question: Question, place: int, before: Any, after: Any) -> None:
        """Take in one sample's two answers."""
        self._seen += 1
        if says_the_same(self._exam, before, after):
            return
        self.changed += 1
        truth = question.truths[place]
        lost = self._lost(truth, before, after)
        if lost <= 0 or self._count <= 0:
            return
        picture = question.pictures[place] if len(question.pictures) else None
        asked, right = question.asked[place], self._exam.say(truth)
        first, second = (_said(self._exam.say, answer) for answer in (before, after))
        changed = Changed(asked, right, first, second, lost, picture)
        heapq.heappush(self._heap, (lost, -self._seen, changed))
        if len(self._heap) > self._count:
            heapq.heappop(self._heap)

    def listed(self) -> tuple[Changed, ...]:
        """The worst first; of equals the first that came."""
        return tuple(
            changed for _, _, changed in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        )

    def _lost(self, truth: Any, before: Any, after: Any) -> float:
        scores = [self._score(truth, answer) for answer in (before, after)]
        first, second = scores
        if first is not None and second is not None:
            return first - second
        if isinstance(before, float | np.floating) and isinstance(after, float | np.floating):
            return abs(float(before) - float(after))
        return 0.0

    def _score(self, truth: Any, answer: Any) -> float | None:
        """The metric of this sample alone, higher being better; None where one sample has none, as of AUC."""
        metric = self._measure.make()
        metric.add(truth, answer)
        value = metric.value()
        return None if math.isnan(value) else self._measure.quality(value)


def says_the_same(exam: Exam, first: Any, second: Any) -> bool:
    """Whether two answers to a sample are the same, but for rounding, or read the same."""
    return same_answer(first, second) or _said(exam.say, first) == _said(exam.say, second)


def same_answer(first: Any, second: Any) -> bool:
    """Whether two answers are the same, but for rounding in numbers."""
    if is_dataclass(first) and is_dataclass(second):
        return type(first) is type(second) and all(
            same_answer(getattr(first, each.name), getattr(second, each.name)) for each in fields(first)
        )
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same_answer, first, second))
    if first is None or second is None or isinstance(first, str):
        return first is second if first is None or second is None else bool(first == second)
    one, other = np.asarray(first), np.asarray(second)
    if one.shape != other.shape:
        return False
    if one.dtype.kind == "f":
        return bool(np.abs(one - other).max(initial=0.0) <= SAME_RELATIVE * np.abs(one).max(initial=0.0))
    return bool((one == other).all())


def _said(say: Any, answer: Any) -> str:
    return "nothing that can be read" if answer is None else str(say(answer))
