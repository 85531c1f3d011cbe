"""Warnings as data: a kind, a number against a threshold, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bench import stats
from bench.measure import STEADY_TOLERANCE, STEADY_WINDOWS, Samples
from bench.record import AccuracyRecord, CalibrationFacts, EnvironmentRecord, WarningRecord

MAX_INTERVAL = 0.05
"""Width of the median's interval over the median; what is compared are medians, and outliers, of which
a run of thousands of queries always has some, do not move them."""

MAX_DRIFT = 0.05
"""Half of the steady-state tolerance: the halves of a steady run differ by less."""

MIN_SAMPLES_FOR_P99 = 100
"""With fewer, the nearest rank of p99 is the largest sample."""

MAX_OTHERS = 0.05
"""Share of the machine's processor time that other programs took while the clock ran."""

LEAK_BYTES = 64 * 2**20
"""All that a query needs is there after the first; a process that grows by more than this keeps something."""


class Kind(StrEnum):
    """Everything the harness warns of."""

    NOT_STEADY = "not-steady"
    DRIFT = "drift"
    WIDE_INTERVAL = "wide-interval"
    FEW_SAMPLES = "few-samples"
    BUSY_MACHINE = "busy-machine"
    LEAK = "memory-grows"
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
    UNCHECKED = "unchecked-graph"


@dataclass(frozen=True)
class Warned:
    """One warning: what was seen, and what to do about it ("" where nothing can be done)."""

    kind: Kind
    message: str
    advice: str = ""

    def as_record(self) -> WarningRecord:
        return WarningRecord(kind=self.kind.value, message=self.message, advice=self.advice)


def about_samples(samples: Samples) -> Iterator[Warned]:
    """What the samples themselves give away."""
    latencies = samples.samples_ns
    if not samples.warm_up.steady:
        yield Warned(
            Kind.NOT_STEADY,
            f"no {STEADY_WINDOWS} windows in a row within {STEADY_TOLERANCE:.0%} in"
            f" {samples.warm_up.queries} queries of warm-up",
            "quieten the machine",
        )
    if abs(change := stats.drift(latencies)) > MAX_DRIFT:
        yield Warned(Kind.DRIFT, f"median {change:+.1%} from first to second half", "raise --duration")
    low, high = stats.median_interval(latencies)
    if (width := (high - low) / stats.percentile(latencies, 0.50)) > MAX_INTERVAL:
        yield Warned(
            Kind.WIDE_INTERVAL,
            f"median known to {width:.1%}",
            "raise --duration, or quieten the machine",
        )
    if (count := len(latencies)) < MIN_SAMPLES_FOR_P99:
        yield Warned(Kind.FEW_SAMPLES, f"p99 of {count} samples is the largest", "raise --duration")


def about_memory(grown_bytes: int, queries: int) -> Iterator[Warned]:
    """A process that held more after the measured queries than before."""
    if grown_bytes > LEAK_BYTES:
        yield Warned(
            Kind.LEAK,
            f"the process grew by {grown_bytes / 2**20:.0f} MiB in {queries} queries",
            "a leak of the backend: raise --duration to see whether it goes on",
        )


def about_machine(environment: EnvironmentRecord, others: float | None) -> Iterator[Warned]:
    """What disturbed the run from outside; `others` is other programs' share of the processors."""
    if others is not None and others > MAX_OTHERS:
        yield Warned(
            Kind.BUSY_MACHINE, f"other programs took {others:.0%} of the processors", "quieten the machine"
        )
    if environment.on_battery:
        yield Warned(Kind.ON_BATTERY, "the machine runs on its battery", "plug it in")
    if environment.governor not in (None, "performance"):
        yield Warned(Kind.GOVERNOR, f"frequency governor is {environment.governor!r}", "set 'performance'")


def about_export(unchecked: str | None) -> Iterator[Warned]:
    """A graph that was never held against its own framework, and why."""
    if unchecked:
        yield Warned(Kind.UNCHECKED, unchecked, "trust its outputs only after a comparison of your own")


def about_calibration(calibration: CalibrationFacts | None) -> Iterator[Warned]:
    """Ranges that rest on made-up inputs."""
    if calibration is not None and calibration.synthetic:
        yield Warned(
            Kind.SYNTHETIC_CALIBRATION, f"ranges come from {calibration.feeds}", "give real samples for INT8"
        )


def about_accuracy(accuracy: AccuracyRecord | None) -> Iterator[Warned]:
    """Agreement that says little, and outputs no one should use."""
    if accuracy is None:
        return
    if accuracy.synthetic:
        yield Warned(
            Kind.SYNTHETIC_FEEDS, f"judged on {accuracy.feeds}", "agreement says little about real inputs"
        )
    if accuracy.non_finite_samples:
        yield Warned(
            Kind.NON_FINITE,
            f"{accuracy.non_finite_samples} of {accuracy.samples} samples give NaN or infinity",
        )
