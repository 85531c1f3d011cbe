"""`bench sensitivity`: which layers INT8 harms, and the fewest to keep in float for a gate to be met."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.artefacts import Artefacts
from bench.candidates import Candidate, Candidates, Goal
from bench.criterion import Criterion, check_gate, criterion_of
from bench.examination import Examination
from bench.exams import check_weights, exams_of, with_weights
from bench.feeds import check_batch, fixed_batch
from bench.opening import usable_backend
from bench.plan import BenchPlan
from bench.progress import Display
from bench.record import check_folder
from bench.sensitivity_findings import Repair, Report
from bench.sensitivity_picture import picture
from bench.sensitivity_report import share, to_json
from bench.store import StoredGraph
from bench.subject import find_subject
from calibration.precision import Precision
from calibration.repair import smallest_kept
from calibration.sensitivity import Comparing, Sensitivity, measure_sensitivity
from model_zoo.spec import Split
from runtime.backend import Backend
from runtime.errors import UsageError
from runtime.files import replacing_file

PICTURE, DOCUMENT, GRAPH = "sensitivity.svg", "sensitivity.json", "int8-mixed.onnx"
"""Files of --out."""


@dataclass(frozen=True)
class SensitivityPlan:
    """One `bench sensitivity` command.

    network: one model on one backend and device; how ranges are found, and how many samples judge.
    samples: of those that ranges are found on, how many the layers are compared on.
    output_samples: of these, how many each layer alone is INT8 for, and the outputs are compared.
    gate:    what a mixed graph must reach (bench.criterion); None: layers are only ranked.
    kept_in: what its layers that are not INT8 are in: FP32, FP16 or BF16.
    drops:   how many of the kept layers are tried without.
    metric:  the gate is a share of FP32's metric on labelled samples, not of its answers.
    data:    the folder of a data set for that; None: what the harness fetches itself.
    metric_samples: of it, at most so many.
    out:     a folder for the picture, the document and the mixed graph.
    """

    network: BenchPlan
    samples: int = 16
    output_samples: int = 4
    gate: float | None = 0.99
    kept_in: Precision = Precision.FP32
    drops: int = 12
    metric: bool = False
    data: Path | None = None
    metric_samples: int | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.gate is not None:
            check_gate(self.gate)


def analyse(plan: SensitivityPlan, home: Path, display: Display) -> Report:
    """Rank the layers and, where there is a gate, repair; raises HarnessError where any of it cannot be done.

    A mixed graph is kept in the store at `home`, and with everything else in the plan's folder.
    """
    if plan.out is not None:
        check_folder(plan.out)
    (model, framework), *_ = plan.network.subjects()
    backend, _ = usable_backend(plan.network.backend, plan.network.devices)
    if plan.metric:
        plan = replace(plan, network=with_weights(plan.network, home, display))
    subject = find_subject(plan.network, model, framework)
    artefacts = Artefacts(subject, home, plan.network.calibration, display)
    analysis = _Analysis(plan, backend, artefacts, display)
    report = analysis.report()
    if plan.out is not None:
        _save(report, plan.out, display)
    return report


@dataclass(frozen=True)
class _Analysis:
    plan: SensitivityPlan
    backend: Backend
    artefacts: Artefacts
    display: Display

    def report(self) -> Report:
        batch_size = fixed_batch(self.artefacts.inputs) or 1
        check_batch(self.artefacts.inputs, batch_size)
        next(self.artefacts.feeds.batches(batch_size, Split.EVALUATION))  # said before the long part
        self.artefacts.at(Precision.INT8)
        sensitivity = self._sensitivity()
        feeds = self.artefacts.feeds
        return Report(
            title=self.artefacts.subject.title,
            backend=self.backend.version(),
            device=self.plan.network.devices[0],
            feeds=feeds.origin,
            synthetic=feeds.synthetic,
            fp32_sha256=self.artefacts.base.entry.sha256,
            sensitivity=sensitivity,
            repair=None if self.plan.gate is None else self._repair(sensitivity, self.plan.gate),
        )

    def _sensitivity(self) -> Sensitivity:
        subject = self.artefacts.subject
        return measure_sensitivity(
            self.artefacts.calibrated.quantisable,
            self.artefacts.calibrated.feeds(self.plan.samples),
            self.display,
            how=Comparing(self.plan.output_samples, subject.batch_dependent, subject.sizes),
        )

    def _repair(self, sensitivity: Sensitivity, gate: float) -> Repair:
        examination = self._examination() if self.plan.metric else None
        criterion = criterion_of(self.artefacts.subject.task)
        if examination is not None:
            criterion = replace(criterion, name=f"share of fp32's {examination.measure.title}")
        ranking = [layer.node for layer in sensitivity.ranking]
        goal = Goal(criterion, examination, self.plan.kept_in)
        with Candidates(self.plan.network, self.backend, self.artefacts, goal, self.display) as maker:
            search = _Search(maker, gate, criterion, ranking, self.display)
            kept = smallest_kept(ranking, search.good, self.plan.drops)
            samples = maker.samples
        found = Repair(gate, criterion.name, samples, goal.kept_in, kept, search.in_order())
        return replace(found, graph=self._stored(found, sensitivity)) if kept else found

    def _examination(self) -> Examination:
        """The model's first exam; raises UsageError where it has none."""
        subject, network = self.artefacts.subject, self.plan.network
        exams = exams_of(network.models[0], network.variant, subject.identity.framework)
        if not exams:
            raise UsageError(
                f"--metric: there are no labelled samples for {subject.title}; leave it out, and the gate is"
                " about agreement with fp32"
            )
        check_weights(network, subject)
        return Examination(exams[0], self.plan.data, self.plan.metric_samples, self.display)

    def _stored(self, found: Repair, sensitivity: Sensitivity) -> StoredGraph:
        facts = {
            "kept": json.dumps(found.kept),
            "kept in": found.kept_in.value,
            "gate": f"{found.gate:g} of {found.criterion}",
            "reached": f"{found.best.reached:.6g} on {found.samples} samples",
            "judged on": f"{self.backend.version()}, {self.plan.network.devices[0]}",
            "ranking": ranking_digest(sensitivity),
            "int8": self.artefacts.at(Precision.INT8).entry.sha256,
        }
        return self.artefacts.put_mixed(found.best.kept, found.kept_in, facts)


class _Search:
    """Judges what the search asks for, and remembers it."""

    def __init__(
        self, maker: Candidates, gate: float, criterion: Criterion, ranking: Sequence[str], display: Display
    ) -> None:
        self._maker = maker
        self._gate = gate
        self._criterion = criterion
        self._layers = len(ranking)
        self._display = display
        self._tried = {each.kept: each for each in maker.ends(ranking)}

    def good(self, kept: tuple[str, ...]) -> bool:
        if kept not in self._tried:
            self._tried[kept] = self._maker.mixed(kept)
        candidate = self._tried[kept]
        self._display.note(
            f"{len(kept)} of {self._layers} layers in float: {self._criterion.name}"
            f" {share(candidate.reached)}, {candidate.speed_up:.2f}x the speed of fp32"
        )
        return candidate.reached >= self._gate

    def in_order(self) -> tuple[Candidate, ...]:
        return tuple(sorted(self._tried.values(), key=lambda each: len(each.kept)))


def ranking_digest(sensitivity: Sensitivity) -> str:
    """SHA-256 over the names of the layers, the most harmful first."""
    names = json.dumps([layer.node for layer in sensitivity.ranking])
    return hashlib.sha256(names.encode()).hexdigest()


def _save(report: Report, folder: Path, display: Display) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((PICTURE, picture(report)), (DOCUMENT, to_json(report))):
        with replacing_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        display.note(f"saved {folder / name}")
    if report.repair is not None and report.repair.graph is not None:
        _copy(report.repair.graph, folder)
        display.note(f"saved {folder / GRAPH}")


def _copy(graph: StoredGraph, folder: Path) -> None:
    """Data files keep their names, since the graph refers to them."""
    for name in graph.entry.files:
        target = folder / (GRAPH if name == graph.path.name else name)
        with replacing_file(target) as temporary:
            shutil.copyfile(graph.path.parent / name, temporary)
