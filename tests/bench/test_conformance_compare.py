"""Outputs are judged as the ONNX project's own runner judges them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx.backend.test.runner import Runner

from bench.conformance_compare import difference
from runtime.tensors import Array

RTOL, ATOL = 1e-3, 1e-7
DTYPES = (np.float32, np.float64, np.float16, np.int32, np.int8, np.bool_)


def _runner_accepts(want: Array, got: Array) -> bool:
    try:
        Runner.assert_similar_outputs([want], [got], RTOL, ATOL)
    except AssertionError:
        return False
    return True


@given(data=st.data(), dtype=st.sampled_from(DTYPES), nudge=st.sampled_from([0.0, 9e-4, 1.1e-3, 0.5]))
def test_the_verdict_is_that_of_onnxs_runner(data: st.DataObject, dtype: type, nudge: float) -> None:
    want = data.draw(arrays.arrays(dtype, arrays.array_shapes(min_side=0)))
    with np.errstate(all="ignore"):
        got = (want * (1 + nudge)).astype(dtype) if want.dtype.kind == "f" else want.copy()
    if data.draw(st.booleans()) and want.dtype.kind in "ib":
        got = np.flip(got)
    with np.errstate(all="ignore"):
        assert (difference([want], {"y": got}, RTOL, ATOL) is None) == _runner_accepts(want, got)


@pytest.mark.parametrize(
    "name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4", "float4_e2m1fn"]
)
def test_types_of_ml_dtypes_are_compared(name: str) -> None:
    want = np.array([1, 2, 3]).astype(name)
    assert difference([want], {"y": want.copy()}, RTOL, ATOL) is None
    found = difference([want], {"y": want[::-1].copy()}, RTOL, ATOL)
    assert found is not None
    assert found.said.startswith("'y' has ")


def test_bfloat16_may_be_two_units_off() -> None:
    want = np.array([1.0, 100.0], ml_dtypes.bfloat16)
    unit = want * np.array(2.0**-7, ml_dtypes.bfloat16)
    assert difference([want], {"y": want + unit}, RTOL, ATOL) is None
    assert difference([want], {"y": want + unit * np.array(3, ml_dtypes.bfloat16)}, RTOL, ATOL) is not None


@pytest.mark.parametrize(
    ("want", "got", "said"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), "'y' has shape [3, 2], expected [2, 3]"),
        (np.zeros(2, np.float32), np.zeros(2), "'y' is float64, expected float32"),
        (np.array(["a"]), np.array(["b"]), "'y' holds other text than expected"),
        (np.array(["a"]), np.zeros(1), "'y' holds other text than expected"),
        (
            np.array([1.0, 2.0]),
            np.zeros(2),
            "'y' has 0 where 2 is expected, and 1 more; all of these are zero",
        ),
        (
            np.array([1.0, 2.0, 3.0]),
            np.full(3, 9.0),
            "'y' has 9 where 1 is expected, and 2 more; all of these are the same",
        ),
        (np.array([1.0, 2.0]), np.array([1.0, np.nan]), "'y' has nan where 2 is expected"),
    ],
)
def test_what_differs_is_said(want: Array, got: Array, said: str) -> None:
    found = difference([want], {"y": got}, RTOL, ATOL)
    assert found is not None
    assert found.said == said


def test_the_error_is_told_in_tolerances() -> None:
    found = difference([np.array([10.0, 1.0])], {"y": np.array([10.0, 1.01])}, RTOL, 0.0)
    assert found is not None
    assert found.times_tolerance == pytest.approx(10)  # 0.01 where 0.001 is allowed


def test_outputs_are_counted() -> None:
    found = difference([np.zeros(1)], {}, RTOL, ATOL)
    assert found is not None
    assert found.said == "0 outputs, expected 1"


def test_nan_and_infinity_are_equal_to_themselves_and_text_to_pythons() -> None:
    odd = np.array([np.nan, np.inf, -np.inf])
    assert difference([odd], {"y": odd.copy()}, RTOL, ATOL) is None
    assert difference([np.array(["a", ""])], {"y": np.array(["a", ""], object)}, RTOL, ATOL) is None
