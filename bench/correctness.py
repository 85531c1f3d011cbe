"""Whether a backend's FP32 answers are the graph's: nothing is worth measuring where they are not."""

from __future__ import annotations

from collections.abc import Iterator

from bench.record import AccuracyRecord
from runtime.errors import CheckFailed

LEAST_SQNR_DB = 40.0
"""1 % of the signal. Two runtimes' float32 is 80 dB apart or more on the zoo; TF32 keeps 10 bits of a factor,
which is 60 dB for one product."""

LEAST_AGREEMENT = 0.9
"""Of answers that cannot be subtracted: boxes that rounding swaps are few."""


def check_answers(accuracy: AccuracyRecord) -> None:
    """Raises CheckFailed where an FP32 graph's answers are not the reference's."""
    wrong = tuple(_wrong(accuracy))
    if wrong:
        raise CheckFailed(
            f"its answers are not those of the {accuracy.reference}: {'; '.join(wrong)};"
            " `bench conformance` tells which operators are wrong"
        )


def _wrong(accuracy: AccuracyRecord) -> Iterator[str]:
    if accuracy.non_finite_samples:
        yield f"{accuracy.non_finite_samples} of {accuracy.samples} samples give NaN or infinity"
    if accuracy.sqnr_db is not None and accuracy.sqnr_db < LEAST_SQNR_DB:
        yield f"SQNR {accuracy.sqnr_db:.1f} dB, at least {LEAST_SQNR_DB:.0f} expected"
    if accuracy.max_abs_error is None and (accuracy.agreement or 0.0) < LEAST_AGREEMENT:
        reached = f"{accuracy.agreement_name} {accuracy.agreement or 0.0:.1%}"
        yield f"{reached}, at least {LEAST_AGREEMENT:.0%} expected"
