"""What `bench sensitivity` finds out: the ranking of the layers, and what became of the repair."""

from __future__ import annotations

from dataclasses import dataclass

from bench.candidates import Candidate
from bench.store import StoredGraph
from calibration.precision import Precision
from calibration.sensitivity import Sensitivity


@dataclass(frozen=True)
class Repair:
    """What became of the search.

    criterion:  what the gate is about.
    samples:    how many judged.
    kept_in:    what layers that are not INT8 are in.
    kept:       these layers; () where INT8 meets the gate as it is, None where nothing does.
    candidates: FP32, INT8 and every mixture that was tried, by the number of layers in float.
    graph:      the mixed graph in the store, where there is one.
    """

    gate: float
    criterion: str
    samples: int
    kept_in: Precision
    kept: tuple[str, ...] | None
    candidates: tuple[Candidate, ...]
    graph: StoredGraph | None = None

    @property
    def met(self) -> bool:
        return self.kept is not None

    @property
    def int8(self) -> Candidate:
        return next(each for each in self.candidates if each.precision is Precision.INT8)

    @property
    def best(self) -> Candidate:
        """The chosen one; where nothing meets the gate, what came nearest."""
        tried = [each for each in self.candidates if each.precision is not Precision.FP32]
        if self.kept is None:
            return max(tried, key=lambda each: (each.reached, each.speed_up))
        return next(each for each in tried if each.kept == self.kept)


@dataclass(frozen=True)
class Report:
    """What was found out, and on what."""

    title: str
    backend: str
    device: str
    feeds: str
    synthetic: bool
    fp32_sha256: str
    sensitivity: Sensitivity
    repair: Repair | None
