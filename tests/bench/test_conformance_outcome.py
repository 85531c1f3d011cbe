"""Scores are counted, and errors of a backend become verdicts."""

from __future__ import annotations

import pytest

from bench.conformance_outcome import Outcome, Score, Verdict, operators_of, score_of, verdict_of
from runtime.errors import (
    CrashedError,
    FeedError,
    GraphError,
    HarnessError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
)


def _outcome(operator: str, opset: int, verdict: Verdict) -> Outcome:
    return Outcome("case", "node", operator, opset, verdict)


OUTCOMES = (
    _outcome("Abs", 6, Verdict.PASS),
    _outcome("Abs", 13, Verdict.WRONG),
    _outcome("Conv", 22, Verdict.UNSUPPORTED),
    _outcome("Conv", 22, Verdict.CRASHED),
    _outcome("Mod", 13, Verdict.PASS),
    _outcome("Mod", 13, Verdict.TIMED_OUT),
    _outcome("If", 25, Verdict.NOT_APPLICABLE),
    _outcome("Mod", 13, Verdict.NOT_APPLICABLE),
)


def test_a_score_is_of_what_applies() -> None:
    assert score_of(OUTCOMES) == Score(2, 6)
    assert score_of(OUTCOMES).share == pytest.approx(1 / 3)
    assert str(score_of(OUTCOMES)) == "2 of 6 (33.3%)"


def test_an_operator_counts_when_any_case_of_any_opset_passes() -> None:
    assert operators_of(OUTCOMES) == Score(2, 3)


def test_of_nothing_the_share_is_nothing() -> None:
    assert score_of(()).share == 0
    assert score_of([_outcome("If", 25, Verdict.NOT_APPLICABLE)]) == Score(0, 0)


@pytest.mark.parametrize(
    ("error", "verdict", "said"),
    [
        (UnsupportedError("no such\nkernel"), Verdict.UNSUPPORTED, "no such kernel"),
        (CrashedError("SIGABRT"), Verdict.CRASHED, "SIGABRT"),
        (TimedOutError("60 s"), Verdict.TIMED_OUT, "60 s"),
        (GraphError("odd"), Verdict.WRONG, "GraphError for a sound file and feed: odd"),
        (FeedError("odd"), Verdict.WRONG, "FeedError for a sound file and feed: odd"),
        (UnavailableError("odd"), Verdict.WRONG, "UnavailableError for a sound file and feed: odd"),
    ],
)
def test_only_a_refusal_is_no_failure(error: HarnessError, verdict: Verdict, said: str) -> None:
    assert verdict_of(error) == (verdict, said)
