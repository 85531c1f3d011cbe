"""What a gate is about: one number, 0 to 1, out of what a comparison with FP32 gave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.record import AccuracyRecord
from model_zoo.spec import Task
from runtime.errors import UsageError


@dataclass(frozen=True)
class Criterion:
    """`reached` is 1 for FP32 itself. A metric on labels would be one more of these."""

    name: str
    reached: Callable[[AccuracyRecord], float]


def criterion_of(task: Task | None) -> Criterion:
    """The task's agreement; the cosine of the outputs where nothing says what they mean."""
    if task is None:
        return Criterion("mean cosine with fp32", _cosine)
    return Criterion(task.agreement, _agreement)


def check_gate(gate: float) -> None:
    """Raises UsageError for what no graph could be held to."""
    if not 0 < gate <= 1:
        raise UsageError(
            f"--gate {gate:g} is no share of what fp32 gives: give a number above 0 and up to 1, such as 0.99"
        )


def _agreement(accuracy: AccuracyRecord) -> float:
    return accuracy.agreement or 0.0


def _cosine(accuracy: AccuracyRecord) -> float:
    """Of samples with NaN or infinity in them: 0. Outputs that are zero on both sides agree."""
    if accuracy.cosine is None:
        return 1.0 if accuracy.max_abs_error == 0 and not accuracy.non_finite_samples else 0.0
    finite = 1 - accuracy.non_finite_samples / accuracy.samples
    return max(0.0, accuracy.cosine.mean) * finite
