"""Verdicts: every gate can be passed and can fail, and few samples decide nothing."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from bench import mlperf
from bench.gates import Outcome, Trial, Verdict, judge
from model_zoo.metrics import METRICS
from runtime.errors import CheckFailed, UsageError
from tests.model_zoo.metric_cases import Case, case

SAMPLES, GATE = 60, 0.9
"""Identical answers pass a gate of 0.9 on 35 samples that are right: z^2 * 0.9 / 0.1."""

each_metric = pytest.mark.parametrize("name", sorted(METRICS))


def verdict(name: str, given: Case, candidate: list[Any], gate: float = GATE) -> Verdict:
    return judge(METRICS[name], given.truths, given.answers, candidate, gate)


def with_nan(answer: Any) -> Any:
    """The answer with NaN for all its numbers; a text cannot be read."""
    if isinstance(answer, float):
        return math.nan
    if isinstance(answer, np.ndarray):
        return np.full(answer.shape, np.nan)
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        scores: Any = answer.scores  # type: ignore[attr-defined]
        return dataclasses.replace(answer, scores=np.full(scores.shape, np.nan))
    return None


@each_metric
def test_the_same_answers_pass(name: str) -> None:
    given = case(name, SAMPLES)
    found = verdict(name, given, given.answers)
    assert found.outcome is Outcome.PASS, found.line()
    assert found.ratio == 1
    assert found.low < 1 < found.high


@each_metric
def test_the_same_answers_on_few_samples_do_not_decide(name: str) -> None:
    given = case(name, 6)
    found = verdict(name, given, given.answers)
    assert found.outcome is Outcome.TOO_FEW, found.line()
    assert found.needed is not None
    assert 30 <= found.needed <= 200


@each_metric
def test_nan_never_passes(name: str) -> None:
    given = case(name, SAMPLES)
    found = verdict(name, given, list(map(with_nan, given.answers)))
    assert found.outcome is Outcome.FAIL
    assert found.reason == f"{SAMPLES} of its answers are NaN or infinite"


@each_metric
def test_a_single_nan_never_passes(name: str) -> None:
    given = case(name, SAMPLES)
    found = verdict(name, given, [*given.answers[:-1], with_nan(given.answers[-1])])
    assert found.outcome is Outcome.FAIL
    assert found.reason == "1 of its answers are NaN or infinite"


@each_metric
def test_a_constant_answer_never_passes(name: str) -> None:
    given = case(name, SAMPLES)
    constant = np.full_like(given.answers[0], 0.5) if METRICS[name].ranks_within else given.answers[0]
    assert verdict(name, given, [constant] * SAMPLES).outcome is Outcome.FAIL


@each_metric
def test_zeros_never_pass(name: str) -> None:
    given = case(name, SAMPLES)
    assert verdict(name, given, [given.zero] * SAMPLES).outcome is Outcome.FAIL


@each_metric
def test_shuffled_answers_never_pass(name: str) -> None:
    given, generator = case(name, SAMPLES), np.random.default_rng(1)
    if METRICS[name].ranks_within:
        shuffled = [generator.permutation(answer) for answer in given.answers]
    else:
        shuffled = [given.answers[index] for index in np.roll(np.arange(SAMPLES), 1)]
    assert verdict(name, given, shuffled).outcome is Outcome.FAIL


@each_metric
def test_a_constant_answer_does_not_pass_beside_an_fp32_that_is_constant_too(name: str) -> None:
    """Wide & Deep that says "no" to all has 0.75 of the census right, and INT8 keeps every bit of it."""
    given = case(name, SAMPLES)
    zeros = [given.answers[0]] * SAMPLES
    if METRICS[name].ranks_within:
        generator = np.random.default_rng(3)
        zeros = [generator.random(given.answers[0].shape) for _ in range(SAMPLES)]
    try:
        found = judge(METRICS[name], given.truths, zeros, zeros, GATE)
    except CheckFailed as error:
        assert "there is nothing to keep" in str(error)  # noqa: PT017 - both ends are right
        return
    assert found.outcome is not Outcome.PASS


def test_a_majority_that_both_runs_answer_is_found_out() -> None:
    truths = [False] * 900 + [True] * 100
    found = judge(METRICS["binary-accuracy"], truths, [0.1] * 1000, [0.1] * 1000, GATE)
    assert found.outcome is Outcome.FAIL
    assert found.ratio == 1
    assert found.reason.startswith("its answers suit other samples as well")


def top_1(right: int, lost: int, gained: int, neither: int, gate: float = 0.99) -> Verdict:
    """Of two classes, as many samples each way; classes alternate, so that a stranger's answer is a coin."""
    trial = Trial(METRICS["top-1"])
    rows = [(1, 1)] * right + [(1, 0)] * lost + [(0, 1)] * gained + [(0, 0)] * neither
    for index in np.random.default_rng(0).permutation(len(rows)):
        truth = int(index) % 2
        baseline, candidate = (np.eye(2)[truth if hit else 1 - truth] for hit in rows[index])
        trial.add(truth, baseline, candidate)
    return trial.verdict(gate)


@pytest.mark.parametrize(("samples", "outcome"), [(380, Outcome.TOO_FEW), (381, Outcome.PASS)])
def test_identical_right_answers_pass_099_from_381_samples_on(samples: int, outcome: Outcome) -> None:
    """z^2 * 0.99 / 0.01 = 380.3."""
    found = top_1(samples, 0, 0, 0)
    assert found.outcome is outcome
    assert found.needed == (381 if outcome is Outcome.TOO_FEW else None)


def test_what_is_needed_decides() -> None:
    first = top_1(850, 6, 5, 139)
    assert first.outcome is Outcome.TOO_FEW
    assert first.needed is not None
    times = math.ceil(first.needed / 1000)
    assert top_1(*(times * count for count in (850, 6, 5, 139))).outcome is Outcome.PASS
    assert top_1(*((times - 1) * count for count in (850, 6, 5, 139))).outcome is Outcome.TOO_FEW


def test_changed_answers_widen_the_interval_though_as_many_are_right() -> None:
    few, many = top_1(900, 0, 0, 100), top_1(850, 50, 50, 50)
    assert few.ratio == many.ratio == 1
    assert many.high - many.low > 3 * (few.high - few.low)
    assert few.outcome is Outcome.PASS
    assert many.outcome is Outcome.TOO_FEW


def test_five_per_cent_lost_fail_and_the_reason_is_the_interval() -> None:
    found = top_1(850, 50, 0, 100)
    assert found.outcome is Outcome.FAIL
    assert found.reason == "all of the interval is below the gate"
    assert found.high < 0.99


def test_a_ratio_on_the_gate_is_decided_by_no_number() -> None:
    found = top_1(990, 10, 0, 0)
    assert found.outcome is Outcome.TOO_FEW
    assert found.needed is None or found.needed > 10**6
    assert found.on_these_samples


def test_an_error_rate_is_judged_by_what_is_right() -> None:
    """CER 0.01 and 0.03 keep 0.97 / 0.99 of the characters; MLPerf takes 100 - WER in the same way."""
    truths = ["abcdefghij"] * 200
    baseline = ["abcdefghix"] * 20 + ["abcdefghij"] * 180
    candidate = ["abcdefghix"] * 60 + ["abcdefghij"] * 140
    order = np.random.default_rng(0).permutation(200)
    first, second = ([answers[index] for index in order] for answers in (baseline, candidate))
    measure = METRICS["character-error-rate"]
    found = judge(measure, truths, first, second, gate=0.9)
    assert (found.baseline, found.candidate) == pytest.approx((0.01, 0.03))
    assert found.ratio == pytest.approx(0.97 / 0.99)
    worse = judge(measure, truths, truths, ["abcxxxxxxx"] * 200, gate=0.9)
    assert worse.outcome is Outcome.FAIL


def test_a_bootstrap_is_no_narrower_than_what_was_never_seen() -> None:
    given = case("bleu", 50)
    found = verdict("bleu", given, given.answers)
    assert found.low == pytest.approx(0.025 ** (1 / 50))


def test_an_fp32_that_knows_nothing_is_no_baseline() -> None:
    given = case("top-1", 5)
    with pytest.raises(
        CheckFailed, match=r"fp32 itself has top-1 0\.0000 on its 5 samples: there is nothing"
    ):
        judge(METRICS["top-1"], [1] * 5, [np.zeros(20)] * 5, given.answers)
    with pytest.raises(CheckFailed, match="1 of fp32's own 5 answers are NaN or infinite"):
        judge(METRICS["top-1"], given.truths, [*given.answers[:4], None], given.answers)


def test_rows_of_different_length_are_refused() -> None:
    with pytest.raises(UsageError, match="2 samples have 2 answers of fp32 and 1 of the candidate; run both"):
        judge(METRICS["word-accuracy"], ["a", "b"], ["a", "b"], ["a"])


def test_no_samples_and_levels_out_of_range_are_refused() -> None:
    trial = Trial(METRICS["word-accuracy"])
    with pytest.raises(UsageError, match="no sample to judge word accuracy on"):
        trial.verdict()
    with pytest.raises(UsageError, match="gate 99 is not between 0 and 1"):
        trial.verdict(gate=99)
    with pytest.raises(UsageError, match=r"confidence 0\.2 is not between 0\.5 and 1"):
        trial.verdict(confidence=0.2)


def test_a_verdict_says_all_in_a_line_and_is_json() -> None:
    found = top_1(380, 0, 0, 0)
    assert found.line() == (
        "too few samples to decide: top-1 1.0000 for fp32's 1.0000, ratio 1.0000"
        f" (95%: {found.low:.4f} to {found.high:.4f}), gate 0.99, 380 samples; about 381 would decide"
    )
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert told["outcome"] == "too few samples to decide"
    assert told["on_these_samples"] is True
    infinite = dataclasses.replace(found, high=math.inf)
    assert infinite.as_json()["high"] is None


def test_strangers_answers_come_from_all_samples_so_far() -> None:
    """Of samples sorted by class, few strangers are of the same class."""
    trial = Trial(METRICS["top-1"])
    truths = np.repeat(np.arange(50), 20).tolist()
    for truth in truths:
        trial.add(truth, np.eye(50)[truth], np.eye(50)[truth])
    assert trial.verdict(gate=0.9).outcome is Outcome.PASS


def test_mlperfs_targets_name_metrics_of_ours() -> None:
    assert {target.metric for target in mlperf.TARGETS} - {""} <= METRICS.keys()
    assert mlperf.target_of("t5") is None


@pytest.mark.parametrize(
    ("task", "gate", "least"),
    [
        ("resnet", 0.99, 75.6954),
        ("bert", 0.99, 89.96526),
        ("bert", 0.999, 90.783126),
        ("rnnt", 0.99, 91.62252),
    ],
)
def test_mlperfs_thresholds_are_the_submission_checkers(task: str, gate: float, least: float) -> None:
    target = mlperf.target_of(task)
    assert target is not None
    assert gate in target.gates
    assert target.least(gate) == pytest.approx(least)
