"""Each warning has a case just beyond its threshold and one just within."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench import advice
from bench.advice import Kind
from bench.measure import Samples, WarmUp
from bench.record import AccuracyRecord
from tests.bench.factories import accuracy, record


def samples(latencies: Sequence[int], *, steady: bool = True) -> Samples:
    return Samples(range(len(latencies)), latencies, sum(latencies), WarmUp(20, 1_000, steady))


def kinds(latencies: Sequence[int], *, steady: bool = True) -> set[Kind]:
    return {warned.kind for warned in advice.about_samples(samples(latencies, steady=steady))}


QUIET = [100, 101] * 500


def test_a_quiet_run_gives_no_advice() -> None:
    assert kinds(QUIET) == set()


def test_a_warm_up_that_did_not_settle_is_named() -> None:
    assert kinds(QUIET, steady=False) == {Kind.NOT_STEADY}


@pytest.mark.parametrize(("second_half", "expected"), [(104, set()), (106, {Kind.DRIFT})])
def test_drift_is_named_beyond_five_percent(second_half: int, expected: set[Kind]) -> None:
    assert kinds([100] * 500 + [second_half] * 500) - {Kind.OUTLIERS} == expected


@pytest.mark.parametrize(("count", "expected"), [(1000, set()), (999, {Kind.FEW_SAMPLES})])
def test_few_samples_are_named_below_a_thousand(count: int, expected: set[Kind]) -> None:
    assert kinds([100, 101] * 500 if count == 1000 else QUIET[:count]) == expected


@pytest.mark.parametrize(("spread", "named"), [(9, False), (11, True)])
def test_variation_is_named_beyond_ten_percent(spread: int, named: bool) -> None:
    latencies = [100 - spread, 100 + spread] * 500
    assert (Kind.VARIABLE in kinds(latencies)) is named


@pytest.mark.parametrize(("outliers", "named"), [(49, False), (51, True)])
def test_outliers_are_named_beyond_five_percent(outliers: int, named: bool) -> None:
    latencies = [99, 100, 101] * 317 + [120] * outliers
    latencies = latencies[: 1000 - outliers] + [120] * outliers
    assert (Kind.OUTLIERS in kinds(latencies)) is named


@pytest.mark.parametrize(("others", "named"), [(None, False), (0.04, False), (0.06, True)])
def test_a_busy_machine_is_named_beyond_five_percent(others: float | None, named: bool) -> None:
    found = {warned.kind for warned in advice.about_machine(record().environment, others)}
    assert (Kind.BUSY_MACHINE in found) is named


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("governor", "powersave", {Kind.GOVERNOR}),
        ("governor", "performance", set()),
        ("on_battery", True, {Kind.ON_BATTERY}),
        ("on_battery", False, set()),
    ],
)
def test_power_settings_that_disturb_are_named(field: str, value: object, expected: set[Kind]) -> None:
    environment = record().environment.model_copy(update={field: value})
    assert {warned.kind for warned in advice.about_machine(environment, None)} == expected


def test_made_up_inputs_are_named() -> None:
    (inputs, ranges) = advice.about_feeds("synthetic (seed 0)", True, "synthetic (seed 0): no network")
    assert (inputs.kind, ranges.kind) == (Kind.SYNTHETIC_FEEDS, Kind.SYNTHETIC_CALIBRATION)
    assert ranges.message == "ranges come from synthetic (seed 0): no network"
    assert list(advice.about_feeds("photographs", False, None)) == []


def test_non_finite_outputs_are_named() -> None:
    (warned,) = advice.about_accuracy(AccuracyRecord.model_validate(accuracy(non_finite_samples=3)))
    assert warned.kind is Kind.NON_FINITE
    assert "3 of 64 samples" in warned.message
    assert list(advice.about_accuracy(AccuracyRecord.model_validate(accuracy()))) == []
    assert list(advice.about_accuracy(None)) == []
