"""`bench conformance`: how much of ONNX, and of the zoo, a backend gets right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.conformance_cases import load_cases
from bench.conformance_graphs import GraphPlan, find_subjects, run_graphs
from bench.conformance_operators import run_cases
from bench.conformance_outcome import FAILURES, ZOO, Outcome
from bench.opening import usable_backend
from bench.progress import Display
from calibration.precision import Precision
from runtime.backend import Backend
from runtime.errors import UsageError
from runtime.isolation import LIMIT_SECONDS

CASE_SECONDS = 60.0
"""For one case of an operator: the slowest here takes under a second, and a TensorRT engine some more."""


@dataclass(frozen=True, kw_only=True)
class ConformancePlan:
    """One `bench conformance` command.

    device:    the backend's first unless given.
    operators: patterns of operators; none given means all.
    only:      names of cases; none given means all.
    models:    as GraphPlan has them; None puts no network to the backend.
    precisions: of the networks; none given means all there are.
    limit_seconds: of a case; None means CASE_SECONDS for an operator, runtime.isolation.LIMIT_SECONDS for a
                   network.
    """

    backend: str
    device: str | None = None
    operators: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    with_operators: bool = True
    models: tuple[str, ...] | None = ()
    precisions: tuple[Precision, ...] = ()
    limit_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.with_operators and (self.operators or self.only):
            raise UsageError(
                "--no-operators leaves out what --operators and --only choose from: give one of them"
            )
        if not self.with_operators and self.models is None:
            raise UsageError("--no-operators and --no-models leave nothing to run; leave one of them out")


@dataclass(frozen=True)
class Conformance:
    """What `bench conformance` found; `complete` unless it was interrupted."""

    backend: str
    version: str
    device: str
    description: str
    outcomes: tuple[Outcome, ...]
    complete: bool = True

    @property
    def operators(self) -> tuple[Outcome, ...]:
        return tuple(each for each in self.outcomes if each.suite != ZOO)

    @property
    def graphs(self) -> tuple[Outcome, ...]:
        return tuple(each for each in self.outcomes if each.suite == ZOO)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Wrong, crashed or timed out."""
        return tuple(each for each in self.outcomes if each.verdict in FAILURES)


def check_conformance(plan: ConformancePlan, home: Path, display: Display) -> Conformance:
    """Run everything, or until Ctrl-C; raises UnavailableError and UsageError, never for what backends do."""
    backend, devices = usable_backend(plan.backend, filter(None, [plan.device]))
    device = devices[plan.device or next(iter(devices))]
    outcomes: list[Outcome] = []
    try:
        for outcome in _outcomes(plan, backend, device.name, home, display):
            outcomes.append(outcome)  # noqa: PERF402 - what is there when it is interrupted is kept
        complete = True
    except KeyboardInterrupt:
        complete = False
    return Conformance(
        backend.name, backend.version(), device.name, device.description, tuple(outcomes), complete
    )


def _outcomes(
    plan: ConformancePlan, backend: Backend, device: str, home: Path, display: Display
) -> Iterator[Outcome]:
    cases = load_cases(plan.operators, plan.only) if plan.with_operators else ()
    limit = plan.limit_seconds
    graphs = GraphPlan(backend, device, plan.models or (), plan.precisions, limit or LIMIT_SECONDS)
    subjects = (
        () if plan.models is None else find_subjects(graphs)
    )  # before the operators: it may be misspelt
    yield from run_cases(backend, device, cases, limit or CASE_SECONDS, display)
    yield from run_graphs(graphs, subjects, home, display)
