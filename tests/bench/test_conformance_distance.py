"""Distances are the textbook's, and what they must tell apart, they do."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.conformance_distance import (
    AS_MUCH_AGAIN,
    FP32_NOISE,
    NEARER,
    Compared,
    Query,
    compare,
    malformed,
    noise,
    told_error,
)
from calibration.precision import Precision
from model_zoo.spec import Task
from runtime.tensors import Array

SAMPLES, VALUES = 8, 4096
RANDOM = np.random.default_rng(0)


def _signal() -> Array:
    return RANDOM.standard_normal((SAMPLES, VALUES)).astype(np.float32)


def _off(array: Array, level: float) -> Array:
    """With an error of `level` decibels below the signal."""
    error = RANDOM.standard_normal(array.shape)
    scale = np.linalg.norm(array, axis=1, keepdims=True) / np.linalg.norm(error, axis=1, keepdims=True)
    noisy: Array = (array + error * scale * 10 ** (-level / 20)).astype(np.float32)
    return noisy


def _compared(fp32: Array, exact: Array, got: Array, precision: Precision) -> Compared:
    queries = [Query(*({"y": each} for each in row)) for row in zip(fp32, exact, got, strict=True)]
    return compare(None, precision, queries, 1)


def test_noise_is_the_power_of_the_difference_over_the_signals() -> None:
    assert noise(np.array([3.0, 4.0]), np.array([3.0, 4.5])) == 0.25 / 25
    assert noise(np.array([3.0, 4.0]), np.zeros(2)) == 1
    assert noise(np.zeros(2), np.zeros(2)) == 0
    assert noise(np.zeros(2), np.ones(2)) == 1
    assert noise(np.ones(2), np.ones(3)) == 1


def test_an_error_is_told_as_signal_over_noise_or_as_answers_that_are_alike() -> None:
    assert told_error(0.001, of_answers=False) == "30.0 dB"
    assert told_error(0.015, of_answers=True) == "98.5% alike"
    assert told_error(0, of_answers=False) == told_error(0, of_answers=True) == "identical"


@pytest.mark.parametrize(
    ("level", "passes"),
    [(140, True), (100, True), (90, True), (66, False), (48, False)],
    ids=["one rounding", "many", "a million", "TF32", "BF16"],
)
def test_an_fp32_graph_may_round_as_float32_does_and_no_coarser(level: float, passes: bool) -> None:
    fp32 = _signal()
    found = _compared(fp32, fp32, _off(fp32, level), Precision.FP32)
    assert (found.fault is None) == passes
    assert found.error == pytest.approx(10 ** (-level / 10), rel=0.1)


def test_one_wrong_sample_of_an_fp32_graph_is_enough() -> None:
    fp32 = _signal()
    got = fp32.copy()
    got[3] = got[4]
    found = _compared(fp32, fp32, got, Precision.FP32)
    assert found.fault is not None
    # The difference of two independent signals has twice the power of one.
    assert found.error == pytest.approx(2, rel=0.1)


def test_roundings_in_other_places_are_no_fault_of_int8s() -> None:
    """Two errors of the same size, independent of each other: twice the power apart, and as far from FP32."""
    fp32 = _signal()
    found = _compared(fp32, _off(fp32, 30), _off(fp32, 30), Precision.INT8)
    assert found.fault is None
    assert found.error == pytest.approx(2e-3, rel=0.1)


def test_int8_that_is_twice_as_wrong_as_it_needs_be_is_a_fault() -> None:
    fp32 = _signal()
    found = _compared(fp32, _off(fp32, 30), _off(fp32, 20), Precision.INT8)
    assert found.fault is not None
    assert "from this int8 file's exact outputs (at worst" in found.fault
    assert found.fault.endswith("and the precision itself 30.0 dB")


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8, Precision.INT4])
def test_float32_in_the_place_of_a_quantised_file_is_told(precision: Precision) -> None:
    fp32 = _signal()
    found = _compared(fp32, _off(fp32, 30), _off(fp32, 120), precision)
    assert found.fault is not None
    assert "nearer to the fp32 file's outputs (120.0 dB) than to this" in found.fault


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_float32_in_the_place_of_a_16_bit_file_loses_nothing(precision: Precision) -> None:
    fp32 = _signal()
    assert _compared(fp32, _off(fp32, 50), fp32, precision).fault is None


def test_the_limits_leave_room_for_what_they_are_between() -> None:
    assert 2 < AS_MUCH_AGAIN < 10
    assert 10 ** (-120 / 10) / 10 ** (-30 / 10) < NEARER < 0.5
    assert -10 * math.log10(FP32_NOISE) == pytest.approx(84)


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (np.array([0, 0, 0], np.float32), "'y' is all zero"),
        (np.array([5, 5, 5], np.float32), "'y' is 5 everywhere"),
        (np.array([1, np.nan, np.inf], np.float32), "'y' has 2 NaN or infinite values of 3"),
        (np.array([1, 2, 3], np.float64), "'y' is float64 with 1 axes, expected float32 with 1"),
        (np.array([[1, 2, 3]], np.float32), "'y' is float32 with 2 axes, expected float32 with 1"),
        (np.array([3, 2, 1], np.float32), None),
    ],
)
def test_what_no_rounding_explains_is_said(got: Array, said: str | None) -> None:
    assert malformed({"y": np.array([1, 2, 3], np.float32)}, {"y": got}) == said


def test_outputs_are_the_files_in_its_order() -> None:
    said = malformed({"a": np.ones(1), "b": np.ones(1)}, {"b": np.ones(1), "a": np.ones(1)})
    assert said == "outputs ['b', 'a'], the file has ['a', 'b']"


def test_what_is_zero_or_the_same_everywhere_by_right_is_no_fault() -> None:
    assert malformed({"y": np.zeros(3)}, {"y": np.zeros(3)}) is None
    assert malformed({"y": np.array([np.nan, 1.0])}, {"y": np.array([np.nan, 2.0])}) is None


class _Boxes:
    """A detector's task: a sample agrees by the share of boxes that are the same."""

    name, agreement, numeric = "boxes", "box agreement", False

    def agreeing(
        self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int
    ) -> NDArray[np.float64]:
        found = np.intersect1d(reference["y"], outputs["y"])
        return np.full(samples, len(found) / max(len(reference["y"]), len(outputs["y"])))


BOXES: Task = _Boxes()
FP32_BOXES, INT8_BOXES = np.arange(1.0, 101.0), np.arange(11.0, 101.0)


@pytest.mark.parametrize(
    ("got", "passes"),
    [(INT8_BOXES, True), (INT8_BOXES[:80], True), (INT8_BOXES[:40], False), (FP32_BOXES, False)],
    ids=["the same", "a little else", "half missing", "FP32's"],
)
def test_detectors_are_compared_by_what_they_find(got: Array, passes: bool) -> None:
    query = Query({"y": FP32_BOXES}, {"y": INT8_BOXES}, {"y": got})
    found = compare(BOXES, Precision.INT8, [query], 1)
    assert (found.fault is None) == passes


@pytest.mark.parametrize(("wrong", "passes"), [(0, True), (1, True), (2, False)])
def test_whole_numbers_are_counted(wrong: int, passes: bool) -> None:
    want = np.arange(1, 101)
    got = want.copy()
    got[:wrong] = -1
    found = compare(None, Precision.FP32, [Query({"y": want}, {"y": want}, {"y": got})], 1)
    assert (found.fault is None) == passes
    assert (found.error, found.of_answers) == (wrong / 100, True)


@pytest.mark.parametrize(
    ("queries", "differing", "passes"), [(8, 1, True), (8, 2, False), (4, 1, True), (3, 1, False)]
)
def test_one_query_of_several_may_stand_at_a_tie(queries: int, differing: int, passes: bool) -> None:
    """A word of nine is more than a hundredth of the words of eight sentences."""
    want, other = {"y": np.arange(9)}, {"y": np.array([*range(8), 99])}
    put = [Query(want, want, other if number < differing else want) for number in range(queries)]
    found = compare(None, Precision.BF16, put, 1)
    assert (found.fault is None) == passes
    assert found.error == pytest.approx(differing / 9 / queries)
