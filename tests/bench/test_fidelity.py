"""A gate on agreement: Wilson's interval decides, and says how many samples would."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from bench.fidelity import fidelity_verdict
from bench.gates import Outcome
from bench.record import AccuracyRecord
from runtime.errors import CheckFailed


def record(agreeing: float, samples: int, non_finite: int = 0, *, task: bool = True) -> AccuracyRecord:
    return AccuracyRecord(
        samples=samples,
        agreement_name="top-1 agreement" if task else None,
        agreement=agreeing / samples if task else None,
        agreement_ci95=None,
        cosine=None,
        sqnr_db=None,
        max_abs_error=0.0,
        non_finite_samples=non_finite,
        feeds="made up",
        feeds_digest="0",
        synthetic=True,
    )


@pytest.mark.parametrize(
    ("agreeing", "samples", "outcome"),
    [
        (400, 400, Outcome.PASS),
        (64, 64, Outcome.TOO_FEW),
        (380, 400, Outcome.FAIL),
        (396, 400, Outcome.TOO_FEW),
    ],
)
def test_the_interval_decides(agreeing: int, samples: int, outcome: Outcome) -> None:
    verdict = fidelity_verdict(record(agreeing, samples), 0.99, 0.95)
    assert verdict.outcome is outcome
    expected = binomtest(agreeing, samples).proportion_ci(0.95, method="wilson")
    assert (verdict.low, verdict.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("share", "samples"), [(1.0, 64), (0.96875, 64), (0.995, 200)])
def test_the_number_needed_would_decide_and_one_less_would_not(share: float, samples: int) -> None:
    needed = fidelity_verdict(record(share * samples, samples), 0.99, 0.95).needed
    assert needed is not None
    assert fidelity_verdict(record(share * needed, needed), 0.99, 0.95).outcome is not Outcome.TOO_FEW
    fewer = needed - 1
    assert fidelity_verdict(record(share * fewer, fewer), 0.99, 0.95).outcome is Outcome.TOO_FEW


def test_nan_never_passes() -> None:
    verdict = fidelity_verdict(record(400, 400, non_finite=1), 0.99, 0.95)
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, "1 of its answers are NaN or infinite")


def test_outputs_without_a_meaning_have_no_gate() -> None:
    with pytest.raises(CheckFailed, match="nothing says what this graph's outputs mean"):
        fidelity_verdict(record(4, 4, task=False), 0.99, 0.95)
