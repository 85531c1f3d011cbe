"""An exam put to a network: question by question, its answers and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.gates import Trial, Verdict
from bench.progress import Display
from bench.reference import Run
from model_zoo.metrics import Measure, Metric, get_measure
from model_zoo.spec import Exam, Question
from runtime.errors import CheckFailed, UnavailableError

Compare = Callable[[Question, Sequence[Any]], None]


@dataclass
class Side:
    """A network's answers, sample by sample, and the metrics over them."""

    exam: Exam
    answers: list[Any] = field(default_factory=list)
    metrics: dict[str, Metric] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.exam.metrics:
            self.metrics[name] = get_measure(name).make()

    def add(self, question: Question, answers: Sequence[Any]) -> None:
        """Raises CheckFailed where there is not an answer for each sample."""
        if len(answers) != len(question.truths):
            raise CheckFailed(f"{len(question.truths)} samples were asked, {len(answers)} answers came")
        self.answers += answers
        for metric in self.metrics.values():
            for truth, answer in zip(question.truths, answers, strict=True):
                metric.add(truth, answer)

    @property
    def scores(self) -> dict[str, float]:
        """By the metrics' titles."""
        return {get_measure(name).title: metric.value() for name, metric in self.metrics.items()}


@dataclass(frozen=True)
class Examination:
    """An exam on a data set, or on a part of it.

    data:    the folder of a data set; None: what the harness fetches itself.
    samples: at most so many, in whole batches; None: all there are.
    """

    exam: Exam
    data: Path | None
    samples: int | None
    display: Display

    @property
    def measure(self) -> Measure:
        """What a gate is about."""
        return get_measure(self.exam.metrics[0])

    def questions(self) -> Iterator[Question]:
        """Never all in memory at once; raises UnavailableError where there is none."""
        asked = 0
        for question in self.exam.questions(self.data, self.display):
            yield question
            asked += len(question.truths)
            if self.samples is not None and asked >= self.samples:
                return
        if not asked:
            raise UnavailableError(f"{self.exam.data}: there is no sample; give a data set with --data")

    def side(self, run: Run, title: str, compare: Compare | None = None) -> Side:
        """All of a network's answers; `compare` is told of each batch."""
        side = Side(self.exam)
        for question in self.display(self.questions(), f"asking {title}"):
            answers = self.exam.answers(question.feed, run(question.feed))
            side.add(question, answers)
            if compare is not None:
                compare(question, answers)
        return side

    def verdict(self, baseline: Side, run: Run, title: str, gate: float) -> Verdict:
        """What a gate on the exam's first metric says of a network, beside FP32's answers."""
        trial, before = Trial(self.measure), iter(baseline.answers)

        def compare(question: Question, answers: Sequence[Any]) -> None:
            for truth, answer in zip(question.truths, answers, strict=True):
                trial.add(truth, next(before), answer)

        self.side(run, title, compare)
        return trial.verdict(gate)
