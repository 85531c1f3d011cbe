"""`bench calibrate`: the ranges of one model's tensors, kept in the store, written and compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.artefacts import Artefacts
from bench.plan import BenchPlan, CalibrationPlan
from bench.progress import Display
from bench.subject import find_subject
from calibration.range_differences import RangeDifferences, compare_ranges
from calibration.range_files import TENSORRT_VERSION, write_ranges
from calibration.ranges import Ranges
from runtime.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CalibratePlan:
    """One `bench calibrate` command.

    out:      the file to write; None writes none.
    kind:     its format (calibration.range_files.FORMATS); None goes by the suffix of `out`.
    tensorrt: the release a TensorRT cache is for.
    compare:  a file of `bench calibrate` to hold the ranges against.
    """

    model: str
    variant: str = ""
    framework: str | None = None
    weights: Path | None = None
    feeds: Path | None = None
    data: Path | None = None
    seed: int = 0
    calibration: CalibrationPlan = field(default_factory=CalibrationPlan)
    out: Path | None = None
    kind: str | None = None
    tensorrt: str = TENSORRT_VERSION
    compare: Path | None = None

    def __post_init__(self) -> None:
        if self.out is None and self.kind is not None:
            raise UsageError(f"--format {self.kind} is that of --out, which is missing; give both or neither")

    def as_bench_plan(self) -> BenchPlan:
        """The plan that finds the same graph and samples as `bench BACKEND` does."""
        return BenchPlan(
            backend="ort",
            models=(self.model,),
            variant=self.variant,
            frameworks=(self.framework,) if self.framework else (),
            weights=self.weights,
            feeds=self.feeds,
            data=self.data,
            calibration=self.calibration,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Calibrated:
    """What `bench calibrate` found.

    origin:      what the samples are made of.
    differences: from the ranges it was held against, if it was.
    """

    model: str
    variant: str
    framework: str
    origin: str
    ranges: Ranges
    differences: RangeDifferences | None


def calibrate_model(plan: CalibratePlan, home: Path, display: Display) -> Calibrated:
    """Find the ranges, or take them from the store, and write them; raises HarnessError."""
    other = Ranges.load(plan.compare) if plan.compare is not None else None
    network = plan.as_bench_plan()
    subject = find_subject(network, plan.model, plan.framework)
    artefacts = Artefacts(subject, home, plan.calibration, display)
    ranges = artefacts.calibrated.ranges
    if plan.out is not None:
        write_ranges(ranges, plan.out, plan.kind, plan.tensorrt)
        display.note(f"saved {plan.out}")
    return Calibrated(
        model=subject.identity.model,
        variant=subject.identity.variant,
        framework=subject.identity.framework,
        origin=artefacts.feeds.origin,
        ranges=ranges,
        differences=compare_ranges(ranges, other) if other is not None else None,
    )
