"""A gate without labels: how far the answers are those of FP32. It is no accuracy, and never called so."""

from __future__ import annotations

import math
from statistics import NormalDist

from bench.gates import Outcome, Verdict
from bench.record import AccuracyRecord
from bench.stats import wilson
from runtime.errors import CheckFailed


def fidelity_verdict(accuracy: AccuracyRecord, gate: float, confidence: float) -> Verdict:
    """Whether at least `gate` of the samples are answered as FP32 answers them.

    The interval is Wilson's, for a share: 64 samples that all agree leave 5.7 % open.
    Raises CheckFailed where nothing says what the outputs mean.
    """
    if accuracy.agreement is None or accuracy.agreement_name is None:
        raise CheckFailed("nothing says what this graph's outputs mean: there is nothing to hold to a gate")
    samples, share = accuracy.samples, accuracy.agreement
    interval = wilson(share * samples, samples, confidence)
    outcome, reason = Outcome.TOO_FEW, "the ratio lies on the gate: no number decides"
    needed = None
    if accuracy.non_finite_samples:
        outcome, reason = Outcome.FAIL, f"{accuracy.non_finite_samples} of its answers are NaN or infinite"
    elif interval.low >= gate:
        outcome, reason = Outcome.PASS, "all of the interval is at the gate or above"
    elif interval.high < gate:
        outcome, reason = Outcome.FAIL, "all of the interval is below the gate"
    elif share != gate:
        needed = _needed(share, gate, confidence)
        reason = f"about {needed:,} would decide"
    return Verdict(
        metric=accuracy.agreement_name,
        outcome=outcome,
        reason=reason,
        samples=samples,
        baseline=1.0,
        candidate=share,
        ratio=share,
        low=interval.low,
        high=interval.high,
        gate=gate,
        confidence=confidence,
        needed=needed,
    )


def _needed(share: float, gate: float, confidence: float) -> int:
    """Samples at which Wilson's interval around `share` ends at the gate.

    Its end g solves n (share - g)^2 = z^2 g (1 - g) (Wilson 1927), which is linear in n.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return math.ceil(z**2 * gate * (1 - gate) / (share - gate) ** 2)
