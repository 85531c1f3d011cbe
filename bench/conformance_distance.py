"""Whether outputs are those of a file: compared with its exact outputs, and with those of the FP32 file.

A precision is an approximation of FP32, and a backend one of the file. The file's own distance from FP32
is the measure: a backend that rounds elsewhere may add as much again, and one that leaves the precision out
gives itself away by being nearer to FP32 than the file is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np

from bench.conformance_compare import is_text
from calibration.precision import Precision
from model_zoo.spec import Task
from runtime.tensors import Array

Outputs = Mapping[str, Array]

FP32_NOISE = 10 ** (-84 / 10)
"""Of the outputs' power, what an FP32 graph's error may have: 2^-24 (144 dB) a rounding, which grows with the
root of their number (Higham, Mary 2019), and the longest path of the zoo has 10^6: sums of up to 4,608 terms
in 101 layers, and as much again. TF32 and BF16 lose more in one layer (66 and 48 dB)."""

ANSWERS = 0.01
"""Share of answers (classes, boxes, words) that may differ where the file's do not: MLPerf's 99 %."""

_ENOUGH_TO_SPARE_ONE = 4
"""Queries. Eight sentences are some seventy words, of which one at a tie, which any rounding decides, is more
than 1 %; and what a translator says after that one may differ as well."""

AS_MUCH_AGAIN = 4.0
"""Power of the difference of two errors over that of either, where both are as large, at most: they may point
in opposite directions. ResNet50 in INT8 on integer kernels comes to 2.0 (ONNX Runtime), since its roundings
grow from layer to layer like those of the precision."""

WORST = 10.0
"""The same for the worst sample, of the worst sample's: 3.6 there."""

NEARER = 0.1
"""Of the file's own distance from FP32. What rounds in other places alone stays near 1 of it (0.55 there, by
OpenVINO); what runs in float32 is at 10^-5."""

_LEAST = 1e-16
"""Power of an error that counts as none: float32's smallest, squared, is 10^-14."""

_MAY_RUN_AS_FP32 = frozenset({Precision.FP32, Precision.FP16, Precision.BF16})
"""A wider float loses nothing (bench.attestation names it)."""


@dataclass(frozen=True)
class Distance:
    """Of one output in one query: the power of a difference over that of what it is a difference from, or a
    share of answers.

    error:     from the file's exact outputs.
    precision: of the file's exact outputs from the FP32 file's.
    from_fp32: from the FP32 file's.
    """

    error: float
    precision: float
    from_fp32: float


@dataclass(frozen=True)
class Pooled:
    """The distances of all queries: what is typical of them, and the worst.

    of_answers: whether they are shares of answers, of which a query has few: their mean counts alone, and
                that without the worst query where there are enough.
    spared:     the mean error without it.
    """

    typical: Distance
    worst: Distance
    of_answers: bool
    spared: float = math.inf

    @property
    def too_far(self) -> bool:
        if self.of_answers:
            error = min(self.typical.error, self.spared)
            return not error <= ANSWERS + AS_MUCH_AGAIN * self.typical.precision
        typical = FP32_NOISE + AS_MUCH_AGAIN * self.typical.precision
        worst = FP32_NOISE + WORST * self.worst.precision
        return not (self.typical.error <= typical and self.worst.error <= worst)

    @property
    def is_fp32(self) -> bool:
        """Nearer to FP32's outputs than to this file's, and than this file's are."""
        limit = min(self.typical.error, NEARER * self.typical.precision)
        return self.typical.from_fp32 < limit


@dataclass(frozen=True)
class Query:
    """What one feed gives: the FP32 file and this file, run exactly, and the backend."""

    fp32: Outputs
    exact: Outputs
    outputs: Outputs


@dataclass(frozen=True)
class Compared:
    """What is wrong with outputs, if anything, and the typical error of the worst of them.

    of_answers: whether that is a share of answers, not of power.
    """

    fault: str | None
    error: float | None
    of_answers: bool = False


def compare(task: Task | None, precision: Precision, queries: Sequence[Query], samples: int) -> Compared:
    """Outputs of a backend with those of the file and of the FP32 file.

    samples: in a query. For FP32, `fp32` and `exact` of a query are the same.
    """
    faults = (malformed(query.exact, query.outputs) for query in queries)
    fault = next((each for each in faults if each is not None), None)
    if fault is not None:
        return Compared(fault, None)
    found = _distances(task, queries, samples)
    told = (_told(name, each, precision) for name, each in found.items())
    worst = max(found.values(), key=lambda each: each.typical.error)
    return Compared(next(filter(None, told), None), worst.typical.error, worst.of_answers)


def _distances(task: Task | None, queries: Sequence[Query], samples: int) -> dict[str, Pooled]:
    """By what they are of: each output, or the answers where outputs cannot be subtracted."""
    if task is not None and not task.numeric:
        agreeing = [_of_answers(task, query, samples) for query in queries]
        return {f"the {task.agreement}": _pooled_answers(agreeing)}
    found = {}
    for name, array in queries[0].exact.items():
        if array.dtype.kind in "fV":
            found[repr(name)] = _pooled_noise([_of(noise, query, name) for query in queries])
        else:
            found[repr(name)] = _pooled_answers([_of(_unequal, query, name) for query in queries])
    return found


def _of(measure: Callable[[Array, Array], float], query: Query, name: str) -> Distance:
    fp32, exact, got = query.fp32[name], query.exact[name], query.outputs[name]
    return Distance(measure(exact, got), measure(fp32, exact), measure(fp32, got))


def _of_answers(task: Task, query: Query, samples: int) -> Distance:
    def apart(reference: Outputs, others: Outputs) -> float:
        return 1.0 - float(task.agreeing(reference, others, samples).mean())

    return Distance(
        apart(query.exact, query.outputs), apart(query.fp32, query.exact), apart(query.fp32, query.outputs)
    )


def _pooled_noise(distances: Sequence[Distance]) -> Pooled:
    """Of FP32 itself, whose own distance is 0, the worst query is what counts."""
    worst = _over(distances, max)
    typical = _over(distances, _geometric) if worst.precision else worst
    return Pooled(typical, worst, of_answers=False)


def _pooled_answers(distances: Sequence[Distance]) -> Pooled:
    spared = math.inf
    if len(distances) >= _ENOUGH_TO_SPARE_ONE:
        spared = fmean(sorted(each.error for each in distances)[:-1])
    return Pooled(_over(distances, fmean), _over(distances, max), of_answers=True, spared=spared)


def _over(distances: Sequence[Distance], reduced: Callable[[Sequence[float]], float]) -> Distance:
    return Distance(
        reduced([each.error for each in distances]),
        reduced([each.precision for each in distances]),
        reduced([each.from_fp32 for each in distances]),
    )


def _geometric(powers: Sequence[float]) -> float:
    """The mean of their decibels; all zero is zero."""
    if not any(powers):
        return 0.0
    return math.exp(fmean(math.log(max(power, _LEAST)) for power in powers))


def malformed(exact: Outputs, outputs: Outputs) -> str | None:
    """What no rounding explains, in a few words; None where there is nothing like it."""
    if list(outputs) != list(exact):
        return f"outputs {list(outputs)}, the file has {list(exact)}"
    for name, want in exact.items():
        fault = _malformed(want, np.asarray(outputs[name]))
        if fault is not None:
            return f"{name!r} {fault}"
    return None


def _malformed(want: Array, got: Array) -> str | None:
    if is_text(want) and is_text(got):
        return None
    if (got.ndim, got.dtype) != (want.ndim, want.dtype):
        return f"is {got.dtype} with {got.ndim} axes, expected {want.dtype} with {want.ndim}"
    if want.dtype.kind == "f" and np.isfinite(want).all() and not np.isfinite(got).all():
        return f"has {np.count_nonzero(~np.isfinite(got))} NaN or infinite values of {got.size}"
    if got.size > 1 and _varies(want) and not _varies(got):
        return "is all zero" if not got.any() else f"is {got.flat[0]:.6g} everywhere"
    return None


def _varies(array: Array) -> bool:
    return bool(array.size) and bool((array != array.flat[0]).any())


def noise(reference: Array, got: Array) -> float:
    """The power of the difference over that of the reference; 1, all of it, where the shapes differ."""
    if reference.shape != got.shape:
        return 1.0
    want = reference.astype(np.float64)
    difference = got.astype(np.float64) - want
    power = float(np.vdot(want, want))
    lost = float(np.vdot(difference, difference))
    return lost / power if power else float(lost > 0)


def _unequal(reference: Array, got: Array) -> float:
    """Share of whole numbers, or of texts, that differ; all of them where the shapes do."""
    if reference.shape != got.shape:
        return 1.0
    return float(np.mean(reference != got)) if got.size else 0.0


def _told(name: str, distance: Pooled, precision: Precision) -> str | None:
    typical, shown = distance.typical, partial(told_error, of_answers=distance.of_answers)
    if precision not in _MAY_RUN_AS_FP32 and distance.is_fp32:
        return (
            f"{name} is nearer to the fp32 file's outputs ({shown(typical.from_fp32)}) than to this"
            f" {precision} file's ({shown(typical.error)}): the precision was left out"
        )
    if not distance.too_far:
        return None
    own = f", and the precision itself {shown(typical.precision)}" if typical.precision else ""
    return (
        f"{name} is {shown(typical.error)} from this {precision} file's exact outputs"
        f" (at worst {shown(distance.worst.error)}){own}"
    )


def told_error(error: float, *, of_answers: bool) -> str:
    """A share of answers as those that are the same, a share of power as signal over noise."""
    if error == 0:
        return "identical"
    return f"{1 - error:.1%} alike" if of_answers else f"{-10 * math.log10(error):.1f} dB"
