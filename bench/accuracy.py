"""`bench accuracy`: what a model gets right, at each precision on each backend, and whether it is enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.artefacts import Artefacts
from bench.attestation import attest
from bench.examination import Compare, Examination, Side
from bench.exams import check_weights, exams_of, has_learned, with_weights
from bench.fidelity import fidelity_verdict
from bench.gates import CONFIDENCE, GATE, Trial
from bench.judged import ExamReport, Judged, NotJudged
from bench.opening import opened, usable_backend
from bench.plan import BenchPlan
from bench.progress import Display
from bench.reference import Place, Reference, reference_place
from bench.subject import Subject, find_subject
from bench.worst import Worst, says_the_same
from calibration.precision import Precision
from model_zoo.spec import Exam, Question
from runtime.backend import Executed
from runtime.errors import HarnessError, UnavailableError, UsageError

SHOWN = 5
"""Samples in the list of the worst, unless told."""


@dataclass(frozen=True)
class AccuracyPlan:
    """One `bench accuracy` command.

    network:  the model, its precisions and its one device; `data` of it is for feeds and not used here.
    backends: on which each precision is judged.
    data:     the folder of a data set; None: what the harness fetches itself.
    samples:  at most so many; None: all there are.
    gate:     share of FP32's quality to keep, on the exam's first metric.
    framework_too: whether the source framework is asked as well, to be compared with the FP32 graph.
    """

    network: BenchPlan
    backends: tuple[str, ...]
    data: Path | None = None
    samples: int | None = None
    gate: float = GATE
    confidence: float = CONFIDENCE
    worst: int = SHOWN
    framework_too: bool = False


def judge_accuracy(plan: AccuracyPlan, home: Path, display: Display) -> Iterator[ExamReport]:
    """A report for each labelled set that the model has, or one of fidelity where it has none.

    Raises HarnessError where nothing can be judged.
    """
    for backend in plan.backends:
        usable_backend(backend, plan.network.devices, plan.network.session)
    network = with_weights(plan.network, home, display)
    (model, framework), *_ = network.subjects()
    subject = find_subject(network, model, framework)
    artefacts = Artefacts(subject, home, network.calibration, display)
    exams = exams_of(model, network.variant, subject.identity.framework)
    run = _Run(replace(plan, network=network), artefacts, display)
    if plan.data is not None:
        _check_data(plan.data, subject, exams)
        check_weights(network, subject)
    if exams and not has_learned(network, subject):
        display.warn(f"{subject.title} has seeded weights, which know nothing: give --weights for accuracy")
        exams = ()
    judged = False
    for exam in exams:
        try:
            yield run.exam(exam)
            judged = True
        except UnavailableError as error:
            if plan.data is not None:
                raise
            display.warn(str(error))
    if not judged:
        yield run.fidelity()


def _check_data(data: Path, subject: Subject, exams: Sequence[Exam]) -> None:
    if not exams:
        raise UsageError(
            f"--data {data}: {subject.title} is judged on no data set; leave it out for fidelity"
        )


@dataclass(frozen=True)
class _Run:
    plan: AccuracyPlan
    artefacts: Artefacts
    display: Display

    @property
    def _device(self) -> str:
        return self.plan.network.devices[0]

    @property
    def _precisions(self) -> tuple[Precision, ...]:
        return self.plan.network.precisions or (Precision.FP32, Precision.FP16, Precision.INT8)

    @property
    def _place(self) -> Place:
        backend, _ = usable_backend(self.plan.backends[0], [self._device])
        return reference_place(backend, self._device)

    def exam(self, exam: Exam) -> ExamReport:
        """The reference first, then every other."""
        examination = Examination(exam, self.plan.data, self.plan.samples, self.display)
        place = self._place
        baseline, told = self._answered(examination, place, Precision.FP32)
        rows: list[Judged | NotJudged] = []
        for backend in self.plan.backends:
            for precision in self._precisions:
                if (precision, backend, self._device) == (Precision.FP32, place.backend.name, place.device):
                    rows.append(told)
                    continue
                try:
                    rows.append(self._judged(examination, baseline, backend, precision))
                except HarnessError as error:
                    rows.append(NotJudged(precision, backend, error))
        differing = self._framework(examination, baseline) if self.plan.framework_too else None
        report = self._report(tuple(rows), len(baseline.answers), f"fp32 graph on {place}")
        return replace(report, data=exam.data, labels=exam.labels.value, framework=differing)

    def fidelity(self) -> ExamReport:
        """Agreement with FP32 on feeds without labels: no accuracy, and never called so."""
        plan = replace(self.plan.network, evaluation_samples=self.plan.samples or 64)
        rows: list[Judged | NotJudged] = []
        samples = 0
        for name in self.plan.backends:
            backend, _ = usable_backend(name, [self._device])
            with Reference(backend, self.artefacts, plan, self.display) as reference:
                for precision in self._precisions:
                    try:
                        row = self._faithful(name, precision, reference)
                    except HarnessError as error:
                        rows.append(NotJudged(precision, name, error))
                        continue
                    rows.append(row)
                    samples = max(samples, row.verdict.samples if row.verdict else 0)
        report = self._report(tuple(rows), samples, f"fp32 graph on {self._place}")
        return replace(report, data=self.artefacts.feeds.origin)

    def _faithful(self, name: str, precision: Precision, reference: Reference) -> Judged:
        backend, _ = usable_backend(name, [self._device])
        graph = self.artefacts.at(precision)
        session, limit = self.plan.network.session, self.plan.network.limit_seconds
        with opened(backend, graph.path, self._device, session, limit) as ready:
            accuracy = reference.judge(ready.run, self._device, 1)
            executed = ready.executed()
        verdict = fidelity_verdict(accuracy, self.plan.gate, self.plan.confidence)
        scores = {verdict.metric: verdict.candidate}
        return replace(self._told(Place(backend, self._device), precision, executed, scores), verdict=verdict)

    def _report(self, rows: tuple[Judged | NotJudged, ...], samples: int, reference: str) -> ExamReport:
        identity, subject = self.artefacts.subject.identity, self.artefacts.subject
        weights = self.plan.network.weights
        return ExamReport(
            model=identity.model,
            variant=identity.variant,
            framework_name=identity.framework,
            weights=str(weights) if weights else subject.trained or "seeded",
            data="",
            labels="",
            samples=samples,
            reference=reference,
            rows=rows,
        )

    def _judged(
        self, examination: Examination, baseline: Side, backend_name: str, precision: Precision
    ) -> Judged:
        backend, _ = usable_backend(backend_name, [self._device])
        trial = Trial(examination.measure)
        worst = Worst(examination.exam, examination.measure, self.plan.worst)
        before = iter(baseline.answers)

        def compare(question: Question, answers: Sequence[Any]) -> None:
            for place, answer in enumerate(answers):
                reference = next(before)
                trial.add(question.truths[place], reference, answer)
                worst.add(question, place, reference, answer)

        _, told = self._answered(examination, Place(backend, self._device), precision, compare)
        verdict = trial.verdict(self.plan.gate, self.plan.confidence, self.display)
        return replace(told, verdict=verdict, changed=worst.changed, worst=worst.listed())

    def _answered(
        self,
        examination: Examination,
        place: Place,
        precision: Precision,
        compare: Compare | None = None,
    ) -> tuple[Side, Judged]:
        graph = self.artefacts.at(precision)
        session, limit = self.plan.network.session, self.plan.network.limit_seconds
        title = f"{self.artefacts.subject.title} {precision} on {place}"
        with opened(place.backend, graph.path, place.device, session, limit) as ready:
            side = examination.side(ready.run, title, compare)
            executed = ready.executed()
        return side, self._told(place, precision, executed, side.scores)

    def _told(
        self, place: Place, precision: Precision, executed: Executed, scores: Mapping[str, float]
    ) -> Judged:
        """Without a verdict yet; raises CheckFailed where it did not execute as asked."""
        graph = self.artefacts.at(precision)
        warned = attest(
            executed,
            precision,
            place.device,
            written=graph.entry.macs_by_type,
            allow_emulation=self.plan.network.allow_emulation,
        )
        return Judged(
            precision=precision,
            backend=place.backend.name,
            version=place.backend.version(),
            graph_sha256=graph.entry.sha256,
            scores=scores,
            verdict=None,
            types=executed.macs_by_type,
            warnings=tuple(each.message for each in warned),
        )

    def _framework(self, examination: Examination, baseline: Side) -> int:
        """How many samples the source framework answers otherwise than the FP32 graph."""
        make = self.artefacts.subject.source
        if make is None:
            raise UsageError("--check-framework: a graph of your own has no framework here; leave it out")
        source, before, differing = make(), iter(baseline.answers), 0
        exam, title = examination.exam, f"asking {self.artefacts.subject.title} in its framework"
        for question in self.display(examination.questions(), title):
            answers = exam.answers(question.feed, source.run(question.feed))
            differing += sum(not says_the_same(exam, next(before), answer) for answer in answers)
        return differing
