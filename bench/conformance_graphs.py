"""Whole networks, at every precision, put to a backend: the zoo's, or the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from bench.artefacts import Artefacts
from bench.conformance_distance import Outputs, Query, compare
from bench.conformance_outcome import ZOO, Outcome, Verdict, verdict_of
from bench.conformance_run import Answer, Job, Runs, misattested
from bench.feeds import fixed_batch
from bench.opening import check_fits
from bench.plan import BenchPlan, CalibrationPlan
from bench.progress import Display
from bench.store import StoredGraph
from bench.subject import Subject, find_subject
from calibration.precision import Precision
from model_zoo import catalog
from model_zoo.spec import Split
from runtime.backend import HOST, Backend, SessionOptions
from runtime.backends import get_backend
from runtime.errors import CrashedError, HarnessError, TimedOutError, UnavailableError, UnsupportedError
from runtime.tensors import Feed
from runtime.widened import Widened

PRECISIONS = tuple(precision for precision in Precision if precision is not Precision.INT8_MIXED)
"""Those any graph can be written at; int8-mixed wants `bench sensitivity` before."""

_FEEDS = 8
"""Queries of a graph, of one sample each unless the graph fixes its batch: the error of ResNet50 in INT8
differs by 40 dB between two samples."""

_EXACT = (get_backend("ort"), Widened(get_backend("ort")), get_backend("reference"))
"""Backends that run a file as it is written, each where those before it cannot: ONNX Runtime without its
optimisations, the same for BF16, and ONNX's evaluator, which is slow."""

_VARIANT = ":"
"""Between a model and its variant."""


@dataclass(frozen=True)
class Network:
    """A graph's subject, and the feeds that all its precisions are put to."""

    artefacts: Artefacts

    @property
    def subject(self) -> Subject:
        return self.artefacts.subject

    @cached_property
    def batch_size(self) -> int:
        return fixed_batch(self.artefacts.inputs) or 1

    @cached_property
    def feeds(self) -> tuple[Feed, ...]:
        batches = self.artefacts.feeds.batches(self.batch_size, Split.EVALUATION)
        return tuple(islice(batches, _FEEDS))


@dataclass(frozen=True)
class GraphPlan:
    """Which networks and precisions are put to which backend.

    models: names of the zoo, each with all its variants, or one as NAME:VARIANT (NAME: is the one
            without a name); ONNX files; bundles of
            `bench export`. None given means the whole zoo.
    limit_seconds: for opening a graph and its queries.
    """

    backend: Backend
    device: str
    models: tuple[str, ...]
    precisions: tuple[Precision, ...]
    limit_seconds: float


def find_subjects(plan: GraphPlan) -> tuple[Subject, ...]:
    """The networks, each in all its frameworks; raises what finding one raises."""
    return tuple(
        subject for model in plan.models or tuple(catalog.MODELS) for subject in _subjects(plan, model)
    )


def _subjects(plan: GraphPlan, model: str) -> Iterator[Subject]:
    name, chosen, variant = model.partition(_VARIANT)
    if Path(model).exists() or model.endswith(".onnx") or os.sep in model:
        yield find_subject(BenchPlan(plan.backend.name, (model,)), model, None)
        return
    spec = catalog.get_model(name)
    for each in (variant,) if chosen else spec.variants:
        for framework in catalog.get_variant(spec, each).build:
            found = BenchPlan(plan.backend.name, (name,), variant=each, frameworks=(framework,))
            yield find_subject(found, name, framework)


def run_graphs(
    plan: GraphPlan, subjects: Sequence[Subject], home: Path, display: Display
) -> Iterator[Outcome]:
    """What becomes of each graph; the outputs of one network are held at a time."""
    for subject in display(subjects, f"putting networks to {plan.backend.name}", len(subjects)):
        network = Network(Artefacts(subject, home, CalibrationPlan(), display))
        with Judge(plan, network) as judge:
            yield from map(judge.outcome, plan.precisions or _precisions_of(subject))


def _precisions_of(subject: Subject) -> tuple[Precision, ...]:
    """All; of a bundle and of a file that is not FP32, those that are there."""
    there = tuple(subject.ready)
    return there if subject.source is None and there != (Precision.FP32,) else PRECISIONS


class Judge:
    """Puts the graphs of one network to the backend, and holds what their files say; a context manager."""

    def __init__(self, plan: GraphPlan, network: Network) -> None:
        self._plan = plan
        self._network = network
        self._runs = Runs(plan.limit_seconds)
        self._exact = Runs(plan.limit_seconds)
        self._fp32: tuple[Outputs, ...] | None = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self._runs.close()
        self._exact.close()

    def outcome(self, precision: Precision) -> Outcome:
        """Of the network's graph at `precision`; not applicable where there is no graph, or no reference."""
        title = self._network.subject.title
        begun = Outcome(f"{title} {precision}", ZOO, title, 0, Verdict.PASS)
        try:
            graph = self._network.artefacts.at(precision)
            begun = replace(begun, opset=graph.entry.opset)
            check_fits([graph], HOST, self._network.batch_size, begun.case)
            exact = self._outputs_of(graph)
            fp32 = self._outputs_of_fp32(precision, exact)
        except HarnessError as error:
            return replace(begun, verdict=Verdict.NOT_APPLICABLE, said=" ".join(str(error).split()))
        try:
            found = self._runs.answer(begun.case, self._job(self._plan.backend, self._plan.device, graph))
        except HarnessError as error:
            verdict, said = verdict_of(error)
            return replace(begun, verdict=verdict, said=said)
        return self._judged(begun, precision, (fp32, exact), found)

    def _judged(
        self,
        begun: Outcome,
        precision: Precision,
        references: tuple[tuple[Outputs, ...], tuple[Outputs, ...]],
        found: Answer,
    ) -> Outcome:
        task, samples = self._network.subject.task, self._network.batch_size
        queries = [Query(*each) for each in zip(*references, found.outputs, strict=True)]
        compared = compare(task, precision, queries, samples)
        ran_as = dict(found.executed.macs_by_type)
        fault = misattested(found.executed) or compared.fault
        begun = replace(begun, error=compared.error, of_answers=compared.of_answers, ran_as=ran_as)
        return begun if fault is None else replace(begun, verdict=Verdict.WRONG, said=fault)

    def _outputs_of_fp32(self, precision: Precision, exact: tuple[Outputs, ...]) -> tuple[Outputs, ...]:
        """Of the FP32 file; of a file that came without one, its own."""
        own = self._network.subject.own
        if precision is own:
            self._fp32 = exact
        if self._fp32 is None:
            self._fp32 = self._outputs_of(self._network.artefacts.at(own))
        return self._fp32

    def _outputs_of(self, graph: StoredGraph) -> tuple[Outputs, ...]:
        """As the file has it, without a backend's liberties.

        Raises UnavailableError where no backend runs it so.
        """
        refusals = []
        for exact in _EXACT:
            if exact.unavailable() is not None:
                continue
            try:
                return self._exact.answer(
                    f"{exact.name} as reference", self._job(exact, HOST, graph, plain=True)
                ).outputs
            except (UnsupportedError, CrashedError, TimedOutError) as error:
                refusals.append(str(error))
        raise UnavailableError(f"nothing to compare with: {'; '.join(refusals) or 'install onnxruntime'}")

    def _job(self, backend: Backend, device: str, graph: StoredGraph, *, plain: bool = False) -> Job:
        options = SessionOptions(optimize=not plain)
        return Job(backend, graph.path, device, self._network.feeds, options)
