"""Whether a session executed what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.advice import Kind, Warned
from calibration.precision import Precision
from runtime.attestation import UNSEEN
from runtime.backend import Executed
from runtime.errors import CheckFailed

MIN_INTEGER_SHARE = 0.5
"""Of what the file promises to be INT8 or FP8: below this such a run is a float run. A file may promise
little itself, as where most of a network is LSTM, which no runtime reads as INT8; that is named."""

NAMED_SHARE = 0.01
"""A wider float below this share changes no figure that is shown."""

MAX_UNSEEN = 0.01
"""As for NAMED_SHARE; beyond it nobody knows what was measured."""

ALL = 1.0 - 1e-9
"""A share that is the whole, but for rounding of sums."""

_QUANTISED: Mapping[Precision, frozenset[str]] = {
    Precision.INT8: frozenset({"int8", "uint8"}),
    Precision.INT8_MIXED: frozenset({"int8", "uint8"}),
    Precision.FP8: frozenset({"float8_e4m3fn", "float8_e5m2"}),
}
"""Types of which a run must have what the file promises; in another it is emulated."""

_FLOATS = frozenset({"float32", "float16", "bfloat16"})
"""What a file whose weights alone are INT4 computes in; fewer bits, it does not ask for."""

_WIDER = {Precision.FP16: "float32", Precision.BF16: "float32"}
"""What a low-precision float may be executed as without losing accuracy; named, not refused."""


def attest(
    executed: Executed,
    precision: Precision,
    device: str,
    *,
    written: Mapping[str, float],
    allow_emulation: bool,
    allow_fallback: bool = False,
) -> tuple[Warned, ...]:
    """Warnings on what ran; raises CheckFailed where it is not what was asked for, unless allowed.

    written: in which types the file has its multiply-accumulates, by share; {} where nobody knows.
    """
    promised = _quantised_share(written, precision) if written else 1.0
    severe = tuple(_severe(executed, precision, device, promised))
    refused = [each for each in severe if not (allow_fallback and each.kind is Kind.FALLBACK)]
    if refused and not allow_emulation:
        raise CheckFailed(
            f"not executed as asked: {'; '.join(each.message for each in refused)}"
            f" (seen in: {executed.evidence}); --allow-emulation measures it all the same"
        )
    mild = (*_mild(executed, precision, promised), *_narrowed(executed, precision, written))
    return severe + mild


def _severe(executed: Executed, precision: Precision, device: str, promised: float) -> Iterator[Warned]:
    types = executed.macs_by_type
    unseen = types.get(UNSEEN, 0.0)
    elsewhere = 1 - executed.on_device_macs - unseen if types else 0.0
    if executed.fallback_nodes or elsewhere > 1 - ALL:
        yield Warned(Kind.FALLBACK, _fallback(executed.fallback_nodes, elsewhere, device))
    if _undecided(types, precision, promised):
        yield Warned(Kind.UNSEEN, f"the backend cannot tell how {unseen:.1%} of the multiply-accumulates ran")
    elif types:
        yield from _wrong_type(types, precision, unseen, promised)


def _undecided(types: Mapping[str, float], precision: Precision, promised: float) -> bool:
    """Whether what the backend did not see could turn the verdict."""
    decided = precision in _QUANTISED and _keeps(types, precision, promised)
    return not decided and types.get(UNSEEN, 0.0) > MAX_UNSEEN


def _wrong_type(
    types: Mapping[str, float], precision: Precision, unseen: float, promised: float
) -> Iterator[Warned]:
    if precision in _QUANTISED and not _keeps(types, precision, promised):
        name = precision.upper()
        yield Warned(Kind.EMULATED, f"{name} is emulated: the multiply-accumulates ran as {_shares(types)}")
    if precision is Precision.INT4 and sum(types.get(name, 0.0) for name in _FLOATS) + unseen < ALL:
        yield Warned(Kind.OTHER_TYPE, f"INT4 weights were multiplied not in float, but as {_shares(types)}")
    if precision is Precision.FP32 and types.get("float32", 0.0) + unseen < ALL:
        yield Warned(Kind.OTHER_TYPE, f"an FP32 run executed as {_shares(types)}")
    wider = _WIDER.get(precision)
    if wider and types.get(precision.kernel_type, 0.0) + types.get(wider, 0.0) + unseen < ALL:
        yield Warned(Kind.OTHER_TYPE, f"{precision.upper()} executed as {_shares(types)}")


def _mild(executed: Executed, precision: Precision, promised: float) -> Iterator[Warned]:
    types = executed.macs_by_type
    if not types:
        yield Warned(Kind.NOTHING_COMPUTED, "the backend reports no multiply-accumulates")
    if types.get(UNSEEN, 0.0) > 0 and not _undecided(types, precision, promised):
        yield Warned(
            Kind.UNSEEN, f"the backend cannot tell how {types[UNSEEN]:.2%} of the multiply-accumulates ran"
        )
    wider = _WIDER.get(precision)
    if wider and types.get(wider, 0.0) > NAMED_SHARE:
        yield Warned(
            Kind.OTHER_TYPE,
            f"{precision.upper()} file, but {types[wider]:.0%} of the multiply-accumulates ran as {wider}",
        )
    yield from _in_part(types, precision, promised)


def _narrowed(executed: Executed, precision: Precision, written: Mapping[str, float]) -> Iterator[Warned]:
    """What the file keeps in float32 for a reason, and ran in 16 bits: named, since nothing else can be had.

    NOTE: OpenVINO 2026.4.1 runs a file in BF16 as a whole, or not at all.
    """
    types, wider = executed.macs_by_type, _WIDER.get(precision)
    if not wider or not types:
        return
    kept = written.get(wider, 0.0)
    narrowed = kept - types.get(wider, 0.0) - types.get(UNSEEN, 0.0)
    if narrowed > NAMED_SHARE:
        yield Warned(
            Kind.OTHER_TYPE,
            f"{kept:.0%} of the multiply-accumulates are {wider} in the file; they ran as {_shares(types)}",
        )


def _in_part(types: Mapping[str, float], precision: Precision, promised: float) -> Iterator[Warned]:
    """What a quantised run did not quantise, or not the arithmetic of."""
    name = precision.upper()
    in_float = 1 - _quantised_share(types, precision) - types.get(UNSEEN, 0.0)
    if precision in _QUANTISED and in_float > NAMED_SHARE and _keeps(types, precision, promised):
        said = f", {promised:.1%} of them {name} in the file," if promised < 1 - NAMED_SHARE else ""
        yield Warned(
            Kind.OTHER_TYPE, f"{name} in part: the multiply-accumulates{said} ran as {_shares(types)}"
        )
    if precision is Precision.INT4 and types:
        yield Warned(
            Kind.OTHER_TYPE,
            f"weights alone are INT4: the multiply-accumulates ran as {_shares(types)}",
        )


def _fallback(names: Sequence[str], elsewhere: float, device: str) -> str:
    few = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
    share = f"{elsewhere:.1%} of the multiply-accumulates"
    return f"{len(names)} nodes{few} and {share} ran elsewhere than on {device}"


def _keeps(types: Mapping[str, float], precision: Precision, promised: float) -> bool:
    """Whether enough of what was promised ran quantised; without any it is no such run, whatever was."""
    share = _quantised_share(types, precision)
    return share > 0 and share >= MIN_INTEGER_SHARE * promised


def _quantised_share(types: Mapping[str, float], precision: Precision) -> float:
    return sum(types.get(name, 0.0) for name in _QUANTISED.get(precision, ()))


def _shares(types: Mapping[str, float]) -> str:
    largest_first = sorted(types.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {share:.1%}" for name, share in largest_first)
