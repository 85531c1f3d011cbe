"""What became of each case, and what share of them a backend gets right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from runtime.errors import CrashedError, HarnessError, TimedOutError, UnsupportedError

ZOO = "zoo"
"""The suite of graphs of the model zoo, and of the user's."""


class Verdict(StrEnum):
    """What became of a case."""

    PASS = "pass"  # noqa: S105 - a verdict
    WRONG = "wrong"
    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    NOT_APPLICABLE = "not applicable"


FAILURES = (Verdict.WRONG, Verdict.CRASHED, Verdict.TIMED_OUT)
"""What no backend may do; to refuse a graph, it may."""


@dataclass(frozen=True)
class Outcome:
    """Of one case.

    operator: what it is a test of; of a graph of the zoo its title.
    opset:    the version its operator is in, or the graph.
    said:     why it did not pass, in a line.
    error:    of an operator: the largest error over what is allowed for it. Of a graph: the power of the
              error over the outputs', or the share of answers that differ. None where there is none.
    of_answers: whether it is such a share.
    ran_as:   shares of the multiply-accumulates by type, as the backend attests them.
    """

    case: str
    suite: str
    operator: str
    opset: int
    verdict: Verdict
    said: str = ""
    error: float | None = None
    of_answers: bool = False
    ran_as: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Score:
    """`passed` of the `applicable`."""

    passed: int
    applicable: int

    @property
    def share(self) -> float:
        """0 to 1; of nothing, 0."""
        return self.passed / self.applicable if self.applicable else 0.0

    def __str__(self) -> str:
        return f"{self.passed} of {self.applicable} ({self.share:.1%})"


def verdict_of(error: HarnessError) -> tuple[Verdict, str]:
    """What an error of a backend makes of a case whose file and feed are sound, and what to say of it."""
    verdicts = {
        UnsupportedError: Verdict.UNSUPPORTED,
        CrashedError: Verdict.CRASHED,
        TimedOutError: Verdict.TIMED_OUT,
    }
    line = " ".join(str(error).split())
    if type(error) in verdicts:
        return verdicts[type(error)], line
    return Verdict.WRONG, f"{type(error).__name__} for a sound file and feed: {line}"


def score_of(outcomes: Iterable[Outcome]) -> Score:
    """Of the cases."""
    applicable = [each.verdict for each in outcomes if each.verdict is not Verdict.NOT_APPLICABLE]
    return Score(applicable.count(Verdict.PASS), len(applicable))


def operators_of(outcomes: Iterable[Outcome]) -> Score:
    """Of the operators that have an applicable case: those that any case passes of, in any opset."""
    judged = [each for each in outcomes if each.verdict is not Verdict.NOT_APPLICABLE]
    passed = {each.operator for each in judged if each.verdict is Verdict.PASS}
    return Score(len(passed), len({each.operator for each in judged}))
