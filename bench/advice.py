"""Warnings as data: a kind, a number against a threshold, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bench import stats
from bench.measure import MAX_WINDOWS, STEADY_TOLERANCE, STEADY_WINDOWS, Samples
from bench.record import AccuracyRecord, EnvironmentRecord, WarningRecord

MAX_VARIATION = 0.10
"""pyperf warns when the standard deviation is 10 % of the mean (pyperf/_cli.py, format_checks)."""

MAX_DRIFT = 0.05
"""Half of the steady-state tolerance: the halves of a steady run differ by less."""

MIN_SAMPLES_FOR_P99 = 1000
"""Ten samples beyond p99; with fewer the number hangs on a handful of queries."""

MAX_OUTLIERS = 0.05
"""Share of samples with a modified Z-score over 3.5 (hyperfine's outlier test looks for any at all;
a run of thousands of queries always has some)."""

MAX_OTHERS = 0.05
"""Share of the machine's processor time that other programs took while the clock ran."""


class Kind(StrEnum):
    """Everything the harness warns of."""

    NOT_STEADY = "not-steady"
    DRIFT = "drift"
    VARIABLE = "variable"
    FEW_SAMPLES = "few-samples"
    OUTLIERS = "outliers"
    BUSY_MACHINE = "busy-machine"
    ON_BATTERY = "on-battery"
    GOVERNOR = "governor"
    OTHER_TYPE = "executed-as-other-type"
    EMULATED = "emulated"
    FALLBACK = "fallback"
    UNSEEN = "not-attested"
    NOTHING_COMPUTED = "nothing-computed"
    SYNTHETIC_FEEDS = "synthetic-feeds"
    SYNTHETIC_CALIBRATION = "synthetic-calibration"
    NON_FINITE = "non-finite-outputs"


@dataclass(frozen=True)
class Warned:
    """One warning."""

    kind: Kind
    message: str

    def as_record(self) -> WarningRecord:
        return WarningRecord(kind=self.kind.value, message=self.message)


def about_samples(samples: Samples) -> Iterator[Warned]:
    """What the samples themselves give away."""
    latencies = samples.samples_ns
    if not samples.warm_up.steady:
        yield Warned(
            Kind.NOT_STEADY,
            f"no {STEADY_WINDOWS} windows in a row within {STEADY_TOLERANCE:.0%} among the"
            f" {MAX_WINDOWS} or fewer of the warm-up ({samples.warm_up.queries} queries)",
        )
    if abs(change := stats.drift(latencies)) > MAX_DRIFT:
        yield Warned(Kind.DRIFT, f"the median moved by {change:+.1%} from the first half to the second")
    if (variation := stats.coefficient_of_variation(latencies)) > MAX_VARIATION:
        yield Warned(Kind.VARIABLE, f"standard deviation is {variation:.0%} of the mean; use the median")
    if len(latencies) < MIN_SAMPLES_FOR_P99:
        yield Warned(
            Kind.FEW_SAMPLES,
            f"{len(latencies)} samples; p99 wants {MIN_SAMPLES_FOR_P99}: raise --duration",
        )
    if (share := stats.outlier_share(latencies)) > MAX_OUTLIERS:
        yield Warned(Kind.OUTLIERS, f"{share:.0%} of the samples are outliers; quieten the machine")


def about_machine(environment: EnvironmentRecord, others: float | None) -> Iterator[Warned]:
    """What disturbed the run from outside; `others` is other programs' share of the processors."""
    if others is not None and others > MAX_OTHERS:
        yield Warned(Kind.BUSY_MACHINE, f"other programs took {others:.0%} of the processors meanwhile")
    if environment.on_battery:
        yield Warned(Kind.ON_BATTERY, "the machine runs on its battery; plug it in")
    if environment.governor not in (None, "performance"):
        yield Warned(Kind.GOVERNOR, f"frequency governor is {environment.governor!r}, not 'performance'")


def about_feeds(feeds: str, synthetic: bool, calibration: str | None) -> Iterator[Warned]:
    """Numbers that rest on made-up inputs; `calibration` is the origin of synthetic calibration data."""
    if synthetic:
        yield Warned(Kind.SYNTHETIC_FEEDS, f"inputs are {feeds}; agreement says little about real ones")
    if calibration is not None:
        yield Warned(Kind.SYNTHETIC_CALIBRATION, f"ranges come from {calibration}")


def about_accuracy(accuracy: AccuracyRecord | None) -> Iterator[Warned]:
    """Outputs no one should use."""
    if accuracy is not None and accuracy.non_finite_samples:
        yield Warned(
            Kind.NON_FINITE,
            f"{accuracy.non_finite_samples} of {accuracy.samples} samples give NaN or infinity",
        )
