"""From a plan to records: graph, session, attestation, agreement, measurement, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from bench.artefacts import Artefacts
from bench.attestation import attest
from bench.correctness import check_answers
from bench.environment import environment
from bench.feeds import check_batch, fixed_batch
from bench.opened import Ready
from bench.opening import check_fits, opened, usable_backend
from bench.plan import BenchPlan, Cell
from bench.progress import Display
from bench.record import Record
from bench.recording import Measured, make_record
from bench.reference import Reference, reference_place
from bench.store import StoredGraph
from bench.subject import find_subject
from calibration.precision import Precision
from model_zoo.spec import Split
from runtime.backend import Backend, Device, Executed
from runtime.errors import HarnessError


@dataclass(frozen=True)
class Failure:
    """What could not be measured, and why; the other cells go on."""

    what: str
    error: HarnessError


def run(plan: BenchPlan, home: Path, display: Display) -> Iterator[Record | Failure]:
    """Measure every cell of `plan`, yielding each as soon as it is done.

    Raises HarnessError before the first measurement where no cell can work: an unknown name, a
    broken file, an unavailable backend or device.
    """
    backend, devices = usable_backend(plan.backend, plan.devices, plan.session)
    subjects = [find_subject(plan, model, framework) for model, framework in plan.subjects()]
    for subject in subjects:
        artefacts = Artefacts(subject, home, plan.calibration, display)
        yield from _Run(plan, backend, devices, artefacts, display).outcomes()


@dataclass(frozen=True)
class _Run:
    """One subject's share of a plan."""

    plan: BenchPlan
    backend: Backend
    devices: dict[str, Device]
    artefacts: Artefacts
    display: Display

    def outcomes(self) -> Iterator[Record | Failure]:
        try:
            self._check_inputs()
        except HarnessError as error:
            yield Failure(self.artefacts.subject.title, error)
            return
        with Reference(self.backend, self.artefacts, self.plan, self.display) as reference:
            for (precision, device), cells in groupby(
                self.plan.cells(self.artefacts.subject.own), lambda cell: (cell.precision, cell.device)
            ):
                try:
                    yield from self._session(precision, device, tuple(cells), reference)
                except HarnessError as error:
                    yield Failure(f"{self.artefacts.subject.title} {precision} on {device}", error)

    def _check_inputs(self) -> None:
        """Export the FP32 graph and take one feed, so that what stops every cell is said once."""
        for size in self.plan.batch_sizes:
            check_batch(self.artefacts.inputs, size)
        next(self.artefacts.feeds.batches(self._batch_size(None), Split.EVALUATION))

    def _batch_size(self, asked: int | None) -> int:
        return asked or fixed_batch(self.artefacts.inputs) or 1

    def _session(
        self, precision: Precision, device: str, cells: Sequence[Cell], reference: Reference
    ) -> Iterator[Record]:
        graph = self.artefacts.at(precision)
        session, limit, listen = self.plan.session, self.plan.limit_seconds, self.display.note
        with opened(self.backend, graph.path, device, session, limit, listen) as ready:
            for cell in cells:
                yield self._measured(graph, ready, cell, reference)

    def _measured(self, graph: StoredGraph, ready: Ready, cell: Cell, reference: Reference) -> Record:
        batch_size = self._batch_size(cell.batch_size)
        what = f"{self.artefacts.subject.title} {cell.precision}"
        check_fits(self._opened_at_once(graph, cell), cell.device, batch_size, what)
        feed = next(self.artefacts.feeds.batches(batch_size, Split.EVALUATION))
        query = ready.bind(feed, self.plan.boundary)
        executed = ready.executed()
        warned = attest(
            executed,
            cell.precision,
            self.plan.session.provider or cell.device,
            written=graph.entry.macs_by_type,
            allow_emulation=self.plan.allow_emulation,
            allow_fallback=self.plan.session.allow_fallback,
        )
        accuracy = None
        if self._is_judged(cell) and _computed(executed, graph):
            accuracy = reference.judge(ready.run, cell.device, batch_size)
            if cell.precision is Precision.FP32:
                check_answers(accuracy)
        self.display.note(f"measuring {self.artefacts.subject.title} {cell}")
        before = environment()
        measurement = query.measure(self.plan.limits)
        measured = Measured(
            cell=cell,
            batch_size=batch_size,
            graph=graph,
            build=query.build,
            executed=executed,
            attested=warned,
            accuracy=accuracy,
            environment=before,
            measurement=measurement,
        )
        return make_record(self.plan, self.backend, self.devices[cell.device], self.artefacts, measured)

    def _opened_at_once(self, graph: StoredGraph, cell: Cell) -> Sequence[StoredGraph]:
        """The graph, and the one it is compared with."""
        return [graph] + ([self.artefacts.base] if self._is_judged(cell) else [])

    def _is_judged(self, cell: Cell) -> bool:
        """Not the base graph where the reference runs, nor when that was not asked for."""
        place = reference_place(self.backend, cell.device)
        here = (self.backend.name, cell.device, self.plan.session.provider)
        is_reference = (place.backend.name, place.device, "") == here
        is_base = cell.precision is self.artefacts.subject.own
        return self.plan.evaluation_samples > 0 and not (is_base and is_reference)


def _computed(executed: Executed, graph: StoredGraph) -> bool:
    """Not for a backend that computes nothing."""
    return bool(executed.macs_by_type) or graph.entry.macs == 0
