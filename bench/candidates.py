"""INT8 graphs with some layers in float: each written, judged against FP32, and timed beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.advice import Kind
from bench.artefacts import Artefacts
from bench.attestation import attest
from bench.criterion import Criterion
from bench.examination import Examination
from bench.feeds import fixed_batch
from bench.gates import GATE
from bench.manifest import GraphEntry
from bench.opened import Ready
from bench.opening import check_fits, opened
from bench.plan import BenchPlan
from bench.progress import Display
from bench.record import AccuracyRecord
from bench.reference import Reference
from bench.store import StoredGraph
from bench.turns import medians_in_turns
from calibration.precision import Precision
from model_zoo.spec import Split
from runtime.backend import Backend, Boundary

TURNS_NS = 1_500_000_000
"""For how long a candidate is timed beside FP32 and INT8: enough to tell a tenth from nothing."""


_NOT_AS_WRITTEN = frozenset({Kind.EMULATED, Kind.FALLBACK, Kind.UNSEEN})


@dataclass(frozen=True)
class Candidate:
    """One point on the way from INT8 to FP32.

    kept:       layers in float, as the ranking orders them.
    int8_macs:  share (0..1) of the multiply-accumulates that the file has in INT8.
    reached:    what the gate is about (bench.criterion, or a share of FP32's metric), 0 to 1.
    interval:   of `reached`, 95 %; None where there is none.
    accuracy:   all of the comparison with FP32; None for FP32 itself.
    latency_ns: median of a query; measured in turns with FP32's.
    speed_up:   FP32's median in the same turns over this one.
    warnings:   where it did not execute as its file says.
    """

    precision: Precision
    kept: tuple[str, ...]
    int8_macs: float
    reached: float
    interval: tuple[float, float] | None
    accuracy: AccuracyRecord | None
    latency_ns: int
    speed_up: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Judged:
    graph: StoredGraph
    session: Ready
    precision: Precision


@dataclass(frozen=True)
class Goal:
    """What is asked of a mixture.

    criterion:   what decides.
    examination: labelled samples that decide instead, with the gate on their metric.
    kept_in:     what the layers that are not INT8 are in.
    """

    criterion: Criterion
    examination: Examination | None = None
    kept_in: Precision = Precision.FP32


class Candidates:
    """Makes candidates of one subject on one backend; a context manager, which keeps FP32 and INT8 open."""

    def __init__(
        self,
        plan: BenchPlan,
        backend: Backend,
        artefacts: Artefacts,
        goal: Goal,
        display: Display,
    ) -> None:
        self._plan = plan
        self._backend = backend
        self._artefacts = artefacts
        self._goal = goal
        self._reference = Reference(backend, artefacts, plan, display)
        self._device = plan.devices[0]
        self._batch_size = fixed_batch(artefacts.inputs) or 1
        self._feed = next(artefacts.feeds.batches(self._batch_size, Split.EVALUATION))
        # No runtime keeps text in the memory of a device.
        text = any(spec.dtype == "str" for spec in artefacts.inputs)
        self._boundary = Boundary.HOST if text else Boundary.DEVICE

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._reference)
            self._ends = (self._artefacts.base, self._artefacts.at(Precision.INT8))
            self._check_fits()
            fp32, self._int8 = (stack.enter_context(self._opened(graph)) for graph in self._ends)
            self._runs = [self._bound(fp32), self._bound(self._int8)]
            if self._goal.examination is not None:
                self._baseline = self._goal.examination.side(
                    fp32.run, f"{self._artefacts.subject.title} fp32"
                )
            self._stack = stack.pop_all()  # all is well: what is open stays so
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def ends(self, layers: Sequence[str]) -> tuple[Candidate, Candidate]:
        """FP32, whose `layers` are all in float, and INT8, which has none of them there."""
        fp32_ns, int8_ns = medians_in_turns(self._runs, TURNS_NS)
        fp32 = Candidate(Precision.FP32, tuple(layers), 0.0, 1.0, None, None, fp32_ns, 1.0)
        int8 = _Judged(self._ends[1], self._int8, Precision.INT8)
        return fp32, self._candidate(int8, (), (fp32_ns, int8_ns))

    @property
    def samples(self) -> int:
        """How many decide."""
        return len(self._baseline.answers) if self._goal.examination is not None else self._judged_on

    def mixed(self, kept: tuple[str, ...]) -> Candidate:
        """INT8 but for the layers `kept`; raises what writing, opening and running a graph raise."""
        with tempfile.TemporaryDirectory(prefix="aimatrix-candidate-") as folder:
            graph = self._written(Path(folder) / "mixed.onnx", kept)
            self._check_fits(graph)
            with self._opened(graph) as session:
                fp32_ns, _, mixed_ns = medians_in_turns([*self._runs, self._bound(session)], TURNS_NS)
                judged = _Judged(graph, session, Precision.INT8_MIXED)
                return self._candidate(judged, kept, (fp32_ns, mixed_ns))

    def _written(self, path: Path, kept: tuple[str, ...]) -> StoredGraph:
        self._artefacts.write_int8(path, self._artefacts.calibrated.apart(kept, self._goal.kept_in))
        sizes = self._artefacts.subject.sizes
        return StoredGraph(path, GraphEntry.of_file(path, Precision.INT8_MIXED, sizes=sizes))

    def _check_fits(self, *more: StoredGraph) -> None:
        check_fits([*self._ends, *more], self._device, self._batch_size, self._artefacts.subject.title)

    def _opened(self, graph: StoredGraph) -> AbstractContextManager[Ready]:
        plan = self._plan
        return opened(self._backend, graph.path, self._device, plan.session, plan.limit_seconds)

    def _bound(self, session: Ready) -> Callable[[], int]:
        return session.bind(self._feed, self._boundary).once

    def _candidate(self, judged: _Judged, kept: tuple[str, ...], medians: tuple[int, int]) -> Candidate:
        accuracy = self._reference.judge(judged.session.run, self._device, self._batch_size)
        self._judged_on = accuracy.samples
        written = judged.graph.entry.macs_by_type
        executed = judged.session.executed()
        warned = attest(executed, judged.precision, self._device, written=written, allow_emulation=True)
        fp32_ns, latency_ns = medians
        reached, interval = self._reached(judged, accuracy)
        return Candidate(
            precision=judged.precision,
            kept=kept,
            int8_macs=written.get("int8", 0.0),
            reached=reached,
            interval=interval,
            accuracy=accuracy,
            latency_ns=latency_ns,
            speed_up=fp32_ns / latency_ns,
            warnings=tuple(each.message for each in warned if each.kind in _NOT_AS_WRITTEN),
        )

    def _reached(self, judged: _Judged, accuracy: AccuracyRecord) -> tuple[float, tuple[float, float] | None]:
        examination = self._goal.examination
        if examination is None:
            return self._goal.criterion.reached(accuracy), accuracy.agreement_ci95
        title = f"{self._artefacts.subject.title} {judged.precision}"
        verdict = examination.verdict(self._baseline, judged.session.run, title, GATE)
        return min(1.0, verdict.ratio), (verdict.low, verdict.high)


def is_dominated(candidate: Candidate, candidates: Sequence[Candidate]) -> bool:
    """Whether any of the others is as good in what it reaches and in speed, and better in one of them."""
    return any(_dominates(other, candidate) for other in candidates)


def _dominates(one: Candidate, other: Candidate) -> bool:
    first, second = (one.reached, one.speed_up), (other.reached, other.speed_up)
    return first != second and all(a >= b for a, b in zip(first, second, strict=True))
