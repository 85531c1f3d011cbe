"""Each warning has a case just beyond its threshold and one just within."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench import advice, stats
from bench.advice import Kind
from bench.measure import Samples, WarmUp
from bench.record import AccuracyRecord, CalibrationFacts
from tests.bench.factories import accuracy, record


def samples(latencies: Sequence[int], *, steady: bool = True) -> Samples:
    return Samples(range(len(latencies)), latencies, sum(latencies), WarmUp(20, 1_000, steady))


def kinds(latencies: Sequence[int], *, steady: bool = True) -> set[Kind]:
    return {warned.kind for warned in advice.about_samples(samples(latencies, steady=steady))}


QUIET = [100, 101] * 500


def test_a_graph_that_was_not_compared_with_its_framework_is_named() -> None:
    reason = "not compared with its framework: OpenCV has no such layer"
    (warned,) = advice.about_export(reason)
    assert (warned.kind, warned.message) == (Kind.UNCHECKED, reason)
    assert not list(advice.about_export(None))


def test_a_quiet_run_gives_no_advice() -> None:
    assert kinds(QUIET) == set()


def test_a_warm_up_that_did_not_settle_is_named() -> None:
    assert kinds(QUIET, steady=False) == {Kind.NOT_STEADY}


@pytest.mark.parametrize(("second_half", "expected"), [(104, set()), (106, {Kind.DRIFT})])
def test_drift_is_named_beyond_five_percent(second_half: int, expected: set[Kind]) -> None:
    assert kinds([100] * 500 + [second_half] * 500) - {Kind.WIDE_INTERVAL} == expected


@pytest.mark.parametrize("count", [99, 100])
def test_few_samples_are_named_where_p99_is_the_largest(count: int) -> None:
    latencies = list(range(10_000, 10_000 + count))
    p99_is_the_largest = stats.percentile(latencies, 0.99) == max(latencies)
    assert (Kind.FEW_SAMPLES in kinds(latencies)) is p99_is_the_largest is (count < 100)


@pytest.mark.parametrize(("spread", "named"), [(4, False), (6, True)])
def test_a_median_that_is_not_well_known_is_named_beyond_five_percent(spread: int, named: bool) -> None:
    latencies = [100, 100 + spread] * 500  # as many of the one as of the other: the interval has both
    assert (Kind.WIDE_INTERVAL in kinds(latencies)) is named


def test_outliers_that_do_not_move_the_median_are_no_matter() -> None:
    assert kinds(([100] * 9 + [1_000_000]) * 100) == set()


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


@pytest.mark.parametrize("synthetic", [True, False])
def test_ranges_from_made_up_inputs_are_named(synthetic: bool) -> None:
    facts = CalibrationFacts(
        method="entropy", samples=8, feeds="noise", feeds_digest="d", synthetic=synthetic
    )
    expected = [(Kind.SYNTHETIC_CALIBRATION, "ranges come from noise")] if synthetic else []
    assert [(each.kind, each.message) for each in advice.about_calibration(facts)] == expected
    assert list(advice.about_calibration(None)) == []


def test_agreement_on_made_up_inputs_is_named() -> None:
    (warned,) = advice.about_accuracy(AccuracyRecord.model_validate(accuracy(synthetic=True)))
    assert warned.kind is Kind.SYNTHETIC_FEEDS
    assert warned.advice == "agreement says little about real inputs"


def test_non_finite_outputs_are_named() -> None:
    (warned,) = advice.about_accuracy(AccuracyRecord.model_validate(accuracy(non_finite_samples=3)))
    assert warned.kind is Kind.NON_FINITE
    assert "3 of 64 samples" in warned.message
    assert list(advice.about_accuracy(AccuracyRecord.model_validate(accuracy()))) == []
    assert list(advice.about_accuracy(None)) == []
