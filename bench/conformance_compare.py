"""Outputs against those a test of the ONNX project expects, as its own runner compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runtime.raw import is_numpys
from runtime.tensors import Array

BFLOAT16_RTOL = 2.0**-6
"""Two units in the last place: onnx/backend/test/runner, for outputs in bfloat16."""


@dataclass(frozen=True)
class Difference:
    """What is wrong with outputs, in a few words.

    times_tolerance: the largest error over what was allowed for it; None where it is none of values.
    """

    said: str
    times_tolerance: float | None = None


def difference(
    expected: Sequence[Array], outputs: Mapping[str, Array], rtol: float, atol: float
) -> Difference | None:
    """None where all outputs are as expected; `outputs` are in the order of the model's."""
    if len(outputs) != len(expected):
        return Difference(f"{len(outputs)} outputs, expected {len(expected)}")
    for (name, got), want in zip(outputs.items(), expected, strict=True):
        found = _difference(name, want, np.asarray(got), rtol, atol)
        if found is not None:
            return found
    return None


def _difference(name: str, want: Array, got: Array, rtol: float, atol: float) -> Difference | None:
    if got.shape != want.shape:
        return Difference(f"{name!r} has shape {list(got.shape)}, expected {list(want.shape)}")
    if is_text(want):
        same = is_text(got) and (got.astype(np.str_) == want.astype(np.str_)).all()
        return None if same else Difference(f"{name!r} holds other text than expected")
    if got.dtype != want.dtype:
        return Difference(f"{name!r} is {got.dtype}, expected {want.dtype}")
    rtol = max(rtol, BFLOAT16_RTOL) if want.dtype.name == "bfloat16" else rtol
    got, want = _plain(got), _plain(want)
    close = np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    return None if close.all() else _told(name, want[~close], got[~close], (rtol, atol))


def _told(name: str, want: Array, got: Array, tolerance: tuple[float, float]) -> Difference:
    """Of the values that are not close."""
    rtol, atol = tolerance
    exact, reached = want.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        times = np.abs(reached - exact) / (atol + rtol * np.abs(exact))
    worst = int(np.argmax(np.where(np.isfinite(times), times, np.inf)))
    said = f"{name!r} has {reached[worst]:.6g} where {exact[worst]:.6g} is expected"
    more = f", and {len(want) - 1} more" if len(want) > 1 else ""
    return Difference(f"{said}{more}{_remark(got)}", float(times[worst]))


def _remark(got: Array) -> str:
    if not got.any():
        return "; all of these are zero"
    return "; all of these are the same" if got.size > 1 and (got == got.flat[0]).all() else ""


def is_text(array: Array) -> bool:
    """Whether it holds text, as NumPy has it or as Python does."""
    return array.dtype.kind in "OU"


def _plain(array: Array) -> Array:
    """NumPy cannot promote ml_dtypes' types (bfloat16, float8, int4) together with a Python float."""
    return array if is_numpys(array.dtype) else array.astype(np.float32)
