"""What `bench accuracy` found out, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.gates import Verdict
from bench.worst import Changed
from calibration.precision import Precision
from runtime.errors import HarnessError


@dataclass(frozen=True)
class Judged:
    """One precision on one backend.

    scores:   of each metric, by its title.
    verdict:  on the first; None for the reference itself.
    types:    share of multiply-accumulates by the type they ran in.
    worst:    samples that came out worse than with the reference.
    changed:  samples whose answers are not the reference's; None where nobody counted.
    """

    precision: Precision
    backend: str
    version: str
    graph_sha256: str
    scores: Mapping[str, float]
    verdict: Verdict | None
    types: Mapping[str, float]
    changed: int | None = None
    worst: tuple[Changed, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotJudged:
    """What could not be judged, and why."""

    precision: Precision
    backend: str
    error: HarnessError


@dataclass(frozen=True)
class ExamReport:
    """All that was found out on one labelled set.

    labels: what it is made of; "": there is none, and the figures are of fidelity, not of accuracy.
    framework: samples to which the source framework gave another answer than the FP32 graph; None: not asked.
    """

    model: str
    variant: str
    framework_name: str
    weights: str
    data: str
    labels: str
    samples: int
    reference: str
    rows: tuple[Judged | NotJudged, ...]
    framework: int | None = None
