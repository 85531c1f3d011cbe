"""Whether a low precision keeps enough of what FP32 can do: pass, fail, or too few samples to decide.

The ratio of the metric to FP32's, both on the same samples, is held against a gate such as MLPerf's 0.99 and
0.999. MLPerf compares two figures of one full validation set; here the ratio has an interval, because the
few hundred samples of a user stand for others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from bench.paired import Draws, PairedScores, Scores, critical, percentiles, unseen_share
from bench.stats import Interval
from model_zoo.metrics import Measure, Metric, Weights
from runtime.errors import CheckFailed, UsageError
from runtime.progress import Progress, silent

GATE = 0.99
CONFIDENCE = 0.95

_STRANGERS = 64
"""Answers that are kept to be given to other samples."""

_IGNORANT = "its answers suit other samples as well: they are constant, all zero or shuffled"

_NO_NUMBER = 1e9
"""Samples nobody has: the ratio lies on the gate."""


class Outcome(StrEnum):
    """What is known of a low precision."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    TOO_FEW = "too few samples to decide"


@dataclass(frozen=True)
class Verdict:
    """What the samples say.

    baseline, candidate: the metric's usual value.
    ratio:    of the qualities (of 1 - value for error rates), and its interval `low` to `high`.
    outcome:  pass where all of the interval is at the gate or above it, fail where all of it is below.
    needed:   about how many samples would decide it if they went on like these; None where it is decided, or
              where the ratio is so near to the gate that no number would do.
    """

    metric: str
    outcome: Outcome
    reason: str
    samples: int
    baseline: float
    candidate: float
    ratio: float
    low: float
    high: float
    gate: float
    confidence: float
    needed: int | None = None

    @property
    def on_these_samples(self) -> bool:
        """Whether the ratio itself reaches the gate: MLPerf's rule, where these are all samples there are."""
        return self.ratio >= self.gate

    def line(self) -> str:
        """The verdict in a line."""
        interval = f"{self.confidence:.0%}: {self.low:.4f} to {self.high:.4f}"
        figures = (
            f"{self.metric} {self.candidate:.4f} for fp32's {self.baseline:.4f}, ratio {self.ratio:.4f}"
            f" ({interval}), gate {self.gate:g}, {self.samples} samples"
        )
        return f"{self.outcome}: {figures}; {self.reason}"

    def as_json(self) -> dict[str, Any]:
        """All of it; an end of the interval that is infinite is None."""
        told = asdict(self) | {"on_these_samples": self.on_these_samples}
        infinite = [name for name, value in told.items() if isinstance(value, float) and math.isinf(value)]
        return told | dict.fromkeys(infinite)


class Trial:
    """FP32 and a candidate on the same samples, one after the other.

    A third run knows nothing of its sample: it says what the candidate said to another one (or, where an
    answer is a ranking, the candidate's scores in another order). What is no better than this is constant,
    all zero or shuffled, whatever ratio it has to an FP32 that knows as little.
    """

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._baseline, self._candidate, self._ignorant = (measure.make() for _ in range(3))
        self._strangers: list[Any] = []
        self._generator = np.random.default_rng(0)

    def add(self, truth: Any, baseline: Any, candidate: Any) -> None:
        """Take in one sample; an answer that could not be read because it held NaN is None."""
        self._baseline.add(truth, baseline)
        self._candidate.add(truth, candidate)
        self._ignorant.add(truth, self._unknowing(candidate))

    def verdict(
        self, gate: float = GATE, confidence: float = CONFIDENCE, progress: Progress = silent
    ) -> Verdict:
        """What is known so far.

        Raises UsageError for levels that are none and for no samples, CheckFailed for a useless FP32.
        """
        _check_levels(gate, confidence)
        sides = _Sides(self._measure, self._baseline, self._candidate, self._ignorant, progress)
        sides.check()
        return _judged(sides, gate, confidence)

    def _unknowing(self, answer: Any) -> Any:
        if answer is None:
            return None
        if self._measure.ranks_within:
            return self._generator.permutation(np.asarray(answer).reshape(-1))
        known = self._strangers
        stranger = known[int(self._generator.integers(len(known)))] if known else answer
        if len(known) < _STRANGERS:
            known.append(answer)
        else:  # all answers so far are kept with the same probability (Vitter 1985, algorithm R)
            place = int(self._generator.integers(self._candidate.samples))
            if place < _STRANGERS:
                known[place] = answer
        return stranger


def judge(
    measure: Measure,
    truths: Sequence[Any],
    baseline: Sequence[Any],
    candidate: Sequence[Any],
    gate: float = GATE,
    confidence: float = CONFIDENCE,
) -> Verdict:
    """The verdict on answers that are all there.

    Raises UsageError for rows of different length, and what `Trial.verdict` raises.
    """
    if not len(truths) == len(baseline) == len(candidate):
        raise UsageError(
            f"{len(truths)} samples have {len(baseline)} answers of fp32 and {len(candidate)} of the"
            " candidate; run both on the same samples"
        )
    trial = Trial(measure)
    for sample in zip(truths, baseline, candidate, strict=True):
        trial.add(*sample)
    return trial.verdict(gate, confidence)


@dataclass(frozen=True)
class _Sides:
    measure: Measure
    baseline: Metric
    candidate: Metric
    ignorant: Metric
    progress: Progress

    def quality(self, metric: Metric, weights: Weights | None = None) -> float:
        return self.measure.quality(metric.value(weights))

    def scores(self, metric: Metric) -> Scores | None:
        scores = metric.scores()
        return 1 - scores if scores is not None and self.measure.lower_is_better else scores

    def check(self) -> None:
        name = self.measure.title
        if not self.baseline.samples:
            raise UsageError(f"no sample to judge {name} on; give one or more")
        if self.baseline.broken:
            raise CheckFailed(
                f"{self.baseline.broken} of fp32's own {self.baseline.samples} answers are NaN or infinite: a"
                " ratio to them says nothing; give sound weights"
            )
        if not self.quality(self.baseline) > 0:
            raise CheckFailed(
                f"fp32 itself has {name} {self.baseline.value():.4f} on its {self.baseline.samples} samples:"
                " there is nothing to keep; give trained weights, and samples with what the metric counts"
            )


def _judged(sides: _Sides, gate: float, confidence: float) -> Verdict:
    interval, needed, knows = _found(sides, gate, confidence)
    outcome, reason = _decided(sides, interval, gate, knows)
    undecided = outcome is Outcome.TOO_FEW and interval.low < gate
    if undecided:
        reason = (
            f"about {needed:,} would decide" if needed else "the ratio lies on the gate: no number decides"
        )
    baseline, candidate = (sides.quality(metric) for metric in (sides.baseline, sides.candidate))
    return Verdict(
        metric=sides.measure.title,
        outcome=outcome,
        reason=reason,
        samples=sides.baseline.samples,
        baseline=sides.baseline.value(),
        candidate=sides.candidate.value(),
        ratio=candidate / baseline,
        low=interval.low,
        high=interval.high,
        gate=gate,
        confidence=confidence,
        needed=needed if undecided else None,
    )


def _decided(sides: _Sides, interval: Interval, gate: float, knows: bool) -> tuple[Outcome, str]:
    """The outcome, and why."""
    if sides.candidate.broken:
        return Outcome.FAIL, f"{sides.candidate.broken} of its answers are NaN or infinite"
    ignorant = sides.quality(sides.candidate) <= sides.quality(sides.ignorant)
    if interval.high < gate:
        remark = f", and {_IGNORANT}" if ignorant else ""
        return Outcome.FAIL, f"all of the interval is below the gate{remark}"
    if interval.low < gate:
        return Outcome.TOO_FEW, ""
    if knows:
        return Outcome.PASS, "all of the interval is at the gate or above"
    if ignorant:
        return Outcome.FAIL, _IGNORANT
    return Outcome.TOO_FEW, "its answers are not yet told apart from answers to other samples"


def _found(sides: _Sides, gate: float, confidence: float) -> tuple[Interval, int | None, bool]:
    """The ratio's interval, how many samples would decide, whether the candidate knows its samples."""
    rows = [sides.scores(metric) for metric in (sides.candidate, sides.baseline, sides.ignorant)]
    if any(row is None for row in rows):
        return _by_draws(sides, gate, confidence)
    candidate, baseline, ignorant = (row for row in rows if row is not None)
    paired = PairedScores.of(candidate, baseline)
    interval, at_gate = paired.interval(confidence), paired.statistic(gate)
    spread = (critical(confidence) / at_gate) ** 2 if at_gate else math.inf
    needed = _needed(paired.samples, spread, (paired.ratio, gate), confidence)
    knows = PairedScores.of(candidate, ignorant).statistic(1.0) >= critical(confidence)
    return interval, needed, knows


def _by_draws(sides: _Sides, gate: float, confidence: float) -> tuple[Interval, int | None, bool]:
    metrics = (sides.candidate, sides.baseline, sides.ignorant)
    samples = sides.baseline.samples
    draws = Draws(samples).of(
        *(lambda weights, metric=metric: sides.quality(metric, weights) for metric in metrics),
        progress=sides.progress,
    )
    candidate, baseline, ignorant = draws.T
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = percentiles(np.where(baseline > 0, candidate / baseline, np.nan), confidence)
    ratio = sides.quality(sides.candidate) / sides.quality(sides.baseline)
    # Draws hold nothing that was not seen: no interval is narrower than what a sample lost without being seen
    # may cost, each being worth as much as the others.
    unseen = abs(ratio) * unseen_share(samples, confidence)
    interval = Interval(min(spread.low, ratio - unseen), max(spread.high, ratio + unseen))
    knows = percentiles(candidate - ignorant, confidence).low > 0
    half = ratio - spread.low if ratio > gate else spread.high - ratio
    widths = (half / (ratio - gate)) ** 2 if ratio != gate else math.inf
    return interval, _needed(samples, widths, (ratio, gate), confidence), knows


def _needed(samples: int, times: float, ratio_and_gate: tuple[float, float], confidence: float) -> int | None:
    """About how many samples would decide; None where no number does.

    times: how often the samples' number would have to be there for the spread, which falls with its root, to
    be what lies between ratio and gate. What is unseen falls with the number itself.
    """
    ratio, gate = ratio_and_gate
    lost = min(abs(ratio - gate) / max(abs(ratio), gate), 1 - 1e-12)
    unseen = math.log((1 - confidence) / 2) / math.log1p(-lost) if lost else math.inf
    needed = max(samples * times, unseen, samples + 1)
    return math.ceil(needed) if needed < _NO_NUMBER else None


def _check_levels(gate: float, confidence: float) -> None:
    if not 0 < gate < 1:
        raise UsageError(f"gate {gate:g} is not between 0 and 1: it is the share of fp32's quality to keep")
    if not 0.5 <= confidence < 1:
        raise UsageError(f"confidence {confidence:g} is not between 0.5 and 1; 0.95 is usual")
