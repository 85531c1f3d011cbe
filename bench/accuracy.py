"""`bench accuracy`: what a model gets right, at each precision on each backend, and whether it is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.artefacts import Artefacts
from bench.attestation import attest
from bench.fidelity import fidelity_verdict
from bench.gates import CONFIDENCE, GATE, Trial
from bench.judged import ExamReport, Judged, NotJudged
from bench.opening import opened, usable_backend
from bench.plan import BenchPlan
from bench.progress import Display
from bench.reference import Place, Reference, reference_place
from bench.subject import Subject, find_subject
from bench.train import TrainPlan, trained_weights
from bench.worst import Worst, same_answer
from calibration.precision import Precision
from model_zoo import catalog
from model_zoo.metrics import Metric, get_measure
from model_zoo.spec import Exam, ModelSpec, Question, Variant
from runtime.errors import CheckFailed, HarnessError, UnavailableError, UsageError

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
        usable_backend(backend, plan.network.devices)
    network = _with_weights(plan.network, home, display)
    (model, framework), *_ = network.subjects()
    subject = find_subject(network, model, framework)
    artefacts = Artefacts(subject, home, network.calibration, display)
    exams = _exams(model, network.variant)
    run = _Run(replace(plan, network=network), artefacts, display)
    if not exams:
        yield run.fidelity()
        return
    _check_weights(network, subject)
    for exam in exams:
        yield run.exam(exam)


def _exams(model: str, variant: str) -> tuple[Exam, ...]:
    found = _variant(model, variant)
    return found.exams if found else ()


def _variant(model: str, variant: str) -> Variant | None:
    """None for what is not of the zoo."""
    if model not in catalog.MODELS:
        return None
    spec: ModelSpec = catalog.get_model(model)
    return catalog.get_variant(spec, variant)


def _with_weights(network: BenchPlan, home: Path, display: Display) -> BenchPlan:
    """The same with trained weights, taken from the store or trained now, where the user gives none."""
    variant = _variant(network.models[0], network.variant)
    if network.weights is not None or variant is None or variant.training is None:
        return network
    weights = trained_weights(TrainPlan(network.models[0], network.variant), home, display)
    return replace(network, weights=weights)


def _check_weights(network: BenchPlan, subject: Subject) -> None:
    if network.weights is None and not subject.trained:
        raise UsageError(
            f"{subject.title} has seeded weights, which know nothing: give trained ones with --weights"
        )


@dataclass
class _Side:
    """A network's answers to an exam, sample by sample, and what they come to."""

    exam: Exam
    answers: list[Any] = field(default_factory=list)
    metrics: dict[str, Metric] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.exam.metrics:
            self.metrics[name] = get_measure(name).make()

    def add(self, question: Question, answers: Sequence[Any]) -> None:
        if len(answers) != len(question.truths):
            raise CheckFailed(f"{len(question.truths)} samples were asked, {len(answers)} answers came")
        self.answers += answers
        for metric in self.metrics.values():
            for truth, answer in zip(question.truths, answers, strict=True):
                metric.add(truth, answer)

    @property
    def scores(self) -> dict[str, float]:
        return {get_measure(name).title: metric.value() for name, metric in self.metrics.items()}


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
        place = self._place
        baseline = _Side(exam)
        told = self._answered(baseline, place, Precision.FP32, None)
        rows: list[Judged | NotJudged] = []
        for backend in self.plan.backends:
            for precision in self._precisions:
                if (precision, backend, self._device) == (Precision.FP32, place.backend.name, place.device):
                    rows.append(told)
                    continue
                try:
                    rows.append(self._judged(baseline, backend, precision))
                except HarnessError as error:
                    rows.append(NotJudged(precision, backend, error))
        differing = self._framework(baseline) if self.plan.framework_too else None
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
        return Judged(
            precision=precision,
            backend=name,
            version=backend.version(),
            graph_sha256=graph.entry.sha256,
            scores={verdict.metric: verdict.candidate},
            verdict=verdict,
            types=executed.macs_by_type,
        )

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

    def _questions(self, exam: Exam) -> Iterator[Question]:
        """As many as were asked for, in whole batches."""
        asked = 0
        for question in exam.questions(self.plan.data, self.display):
            yield question
            asked += len(question.truths)
            if self.plan.samples is not None and asked >= self.plan.samples:
                return
        if not asked:
            raise UnavailableError(f"{exam.data}: there is no sample; give a data set with --data")

    def _judged(self, baseline: _Side, backend_name: str, precision: Precision) -> Judged:
        backend, _ = usable_backend(backend_name, [self._device])
        exam = baseline.exam
        measure = get_measure(exam.metrics[0])
        trial, worst = Trial(measure), Worst(exam, measure, self.plan.worst)
        before = iter(baseline.answers)

        def compare(question: Question, answers: Sequence[Any]) -> None:
            for place, answer in enumerate(answers):
                reference = next(before)
                trial.add(question.truths[place], reference, answer)
                worst.add(question, place, reference, answer)

        told = self._answered(_Side(exam), Place(backend, self._device), precision, compare)
        verdict = trial.verdict(self.plan.gate, self.plan.confidence, self.display)
        return replace(told, verdict=verdict, changed=worst.changed, worst=worst.listed())

    def _answered(
        self,
        side: _Side,
        place: Place,
        precision: Precision,
        compare: Callable[[Question, Sequence[Any]], None] | None,
    ) -> Judged:
        graph = self.artefacts.at(precision)
        session, limit = self.plan.network.session, self.plan.network.limit_seconds
        title = f"{self.artefacts.subject.title} {precision} on {place}"
        with opened(place.backend, graph.path, place.device, session, limit) as ready:
            for question in self.display(self._questions(side.exam), f"asking {title}"):
                answers = side.exam.answers(question.feed, ready.run(question.feed))
                side.add(question, answers)
                if compare is not None:
                    compare(question, answers)
            executed = ready.executed()
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
            scores=side.scores,
            verdict=None,
            types=executed.macs_by_type,
            warnings=tuple(each.message for each in warned),
        )

    def _framework(self, baseline: _Side) -> int:
        """How many samples the source framework answers otherwise than the FP32 graph."""
        make = self.artefacts.subject.source
        if make is None:
            raise UsageError("--check-framework: a graph of your own has no framework here; leave it out")
        source, before, differing = make(), iter(baseline.answers), 0
        title = f"asking {self.artefacts.subject.title} in its framework"
        for question in self.display(self._questions(baseline.exam), title):
            answers = baseline.exam.answers(question.feed, source.run(question.feed))
            differing += sum(not same_answer(next(before), answer) for answer in answers)
        return differing
