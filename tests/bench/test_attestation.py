"""What ran is either what was asked for, or named, or refused."""

from __future__ import annotations

import pytest

from bench.advice import Kind, Warned
from bench.attestation import attest
from calibration.precision import Precision
from runtime.backend import Executed
from runtime.errors import CheckFailed


def executed(types: dict[str, float], *, on_device: float = 1.0, fallback: tuple[str, ...] = ()) -> Executed:
    return Executed(on_device, types, fallback, None, "profile of the first query")


@pytest.mark.parametrize(
    ("precision", "types"),
    [
        (Precision.FP32, {"float32": 1.0}),
        (Precision.FP32, {"float32": 0.1 + 0.2 + 0.7}),
        (Precision.FP16, {"float16": 1.0}),
        (Precision.BF16, {"bfloat16": 1.0}),
        (Precision.BF16, {"bfloat16": 0.995, "float32": 0.005}),
        (Precision.INT8, {"int8": 1.0}),
        (Precision.INT8, {"uint8": 0.6, "int8": 0.395, "float32": 0.005}),
        (Precision.INT8_MIXED, {"int8": 1.0}),
        (Precision.FP8, {"float8_e4m3fn": 1.0}),
    ],
)
def test_what_ran_as_asked_gives_no_warning(precision: Precision, types: dict[str, float]) -> None:
    assert attest(executed(types), precision, "cpu", written={}, allow_emulation=False) == ()


REFUSED = [
    (Precision.INT8, executed({"float32": 1.0}), Kind.EMULATED, "INT8 is emulated: .* ran as float32 100.0%"),
    (Precision.INT8, executed({"float32": 0.51, "int8": 0.49}), Kind.EMULATED, "float32 51.0%, int8 49.0%"),
    (Precision.FP8, executed({"float32": 1.0}), Kind.EMULATED, "FP8 is emulated: .* ran as float32 100.0%"),
    (Precision.FP8, executed({"int8": 1.0}), Kind.EMULATED, "FP8 is emulated: .* ran as int8 100.0%"),
    (
        Precision.INT4,
        executed({"int8": 0.8, "float32": 0.2}),
        Kind.OTHER_TYPE,
        "INT4 weights were multiplied not in float, but as int8 80.0%, float32 20.0%",
    ),
    (Precision.FP32, executed({"bfloat16": 1.0}), Kind.OTHER_TYPE, "an FP32 run executed as bfloat16 100.0%"),
    (Precision.FP32, executed({"float32": 0.9, "tf32": 0.1}), Kind.OTHER_TYPE, "float32 90.0%, tf32 10.0%"),
    (Precision.FP16, executed({"int8": 1.0}), Kind.OTHER_TYPE, "FP16 executed as int8"),
    (Precision.BF16, executed({"float16": 1.0}), Kind.OTHER_TYPE, "BF16 executed as float16"),
    (
        Precision.FP32,
        executed({"float32": 1.0}, on_device=0.75, fallback=("a", "b", "c", "d")),
        Kind.FALLBACK,
        r"4 nodes \(a, b, c, \.\.\.\) and 25.0% of the multiply-accumulates ran elsewhere than on cpu",
    ),
    (
        Precision.FP32,
        executed({"float32": 0.98, "unknown": 0.02}, on_device=0.98),
        Kind.UNSEEN,
        r"the backend cannot tell how 2.0% of the multiply-accumulates ran",
    ),
    (
        Precision.INT8,
        executed({"int8": 0.4, "unknown": 0.6}, on_device=0.4),
        Kind.UNSEEN,
        r"the backend cannot tell how 60.0% of the multiply-accumulates ran",
    ),
    (
        Precision.FP32,
        executed({"float32": 0.9, "bfloat16": 0.095, "unknown": 0.005}, on_device=0.995),
        Kind.OTHER_TYPE,
        "executed as float32 90.0%, bfloat16 9.5%",
    ),
    (
        Precision.FP32,
        executed({}, fallback=("softmax",)),
        Kind.FALLBACK,
        r"1 nodes \(softmax\) and 0.0% of the multiply-accumulates ran elsewhere",
    ),
]


@pytest.mark.parametrize(("precision", "ran", "kind", "message"), REFUSED)
def test_what_ran_otherwise_is_refused_and_measured_only_if_allowed(
    precision: Precision, ran: Executed, kind: Kind, message: str
) -> None:
    with pytest.raises(CheckFailed, match=rf"(?s){message}.*\(seen in: profile of the first query\)"):
        attest(ran, precision, "cpu", written={}, allow_emulation=False)
    assert kind in {warned.kind for warned in attest(ran, precision, "cpu", written={}, allow_emulation=True)}


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_a_wider_float_is_named_but_not_refused(precision: Precision) -> None:
    (warned,) = attest(
        executed({"float32": 0.99, precision.kernel_type: 0.01}),
        precision,
        "cpu",
        written={},
        allow_emulation=False,
    )
    assert warned.kind is Kind.OTHER_TYPE
    assert warned.message == f"{precision.upper()} file, but 99% of the multiply-accumulates ran as float32"


def test_what_a_file_keeps_in_float32_and_ran_in_16_bits_is_named() -> None:
    """An exception that the file makes for accuracy's sake does not hold there."""
    ran, written = executed({"bfloat16": 1.0}), {"bfloat16": 0.25, "float32": 0.75}
    (warned,) = attest(ran, Precision.BF16, "cpu", written=written, allow_emulation=False)
    assert warned.kind is Kind.OTHER_TYPE
    assert warned.message == (
        "75% of the multiply-accumulates are float32 in the file; they ran as bfloat16 100.0%"
    )


@pytest.mark.parametrize(
    ("types", "written"),
    [
        ({"bfloat16": 0.25, "float32": 0.75}, {"bfloat16": 0.25, "float32": 0.75}),
        ({"bfloat16": 1.0}, {"bfloat16": 0.995, "float32": 0.005}),
        ({"bfloat16": 0.25, "unknown": 0.75}, {"bfloat16": 0.25, "float32": 0.75}),
    ],
)
def test_float32_that_ran_so_or_was_not_seen_or_is_little_is_not_called_narrowed(
    types: dict[str, float], written: dict[str, float]
) -> None:
    said = attest(executed(types), Precision.BF16, "cpu", written=written, allow_emulation=True)
    assert not any("are float32 in the file" in each.message for each in said)


@pytest.mark.parametrize("precision", [each for each in Precision if each is not Precision.INT4])
def test_a_little_that_the_backend_did_not_see_is_named_but_not_refused(precision: Precision) -> None:
    ran = executed({precision.kernel_type: 0.999, "unknown": 0.001}, on_device=0.999)
    (warned,) = attest(ran, precision, "cpu", written={}, allow_emulation=False)
    assert warned == Warned(Kind.UNSEEN, "the backend cannot tell how 0.10% of the multiply-accumulates ran")


def test_what_was_not_seen_cannot_turn_a_decided_int8_run() -> None:
    ran = executed({"int8": 0.92, "unknown": 0.08}, on_device=0.92)
    assert [each.kind for each in attest(ran, Precision.INT8, "cpu", written={}, allow_emulation=False)] == [
        Kind.UNSEEN
    ]


@pytest.mark.parametrize("share", [0.6, 0.9, 0.98])
def test_int8_in_part_is_named(share: float) -> None:
    types = {"int8": share, "float32": 1 - share}
    (warned,) = attest(executed(types), Precision.INT8, "cpu", written={}, allow_emulation=False)
    told = f"INT8 in part: the multiply-accumulates ran as int8 {share:.1%}, float32 {1 - share:.1%}"
    assert warned.message == told


@pytest.mark.parametrize("types", [{"float32": 1.0}, {"float16": 0.9, "unknown": 0.005, "float32": 0.095}])
def test_int4_weights_are_said_to_be_weights_alone(types: dict[str, float]) -> None:
    ran = executed(types, on_device=1 - types.get("unknown", 0))
    *_, warned = attest(ran, Precision.INT4, "cpu", written={"float32": 1.0}, allow_emulation=False)
    assert warned.kind is Kind.OTHER_TYPE
    assert warned.message.startswith("weights alone are INT4: the multiply-accumulates ran as float")


def test_fp8_is_held_to_what_the_file_has_in_fp8() -> None:
    written = {"float8_e4m3fn": 0.3, "float32": 0.7}
    (warned,) = attest(executed(written), Precision.FP8, "cpu", written=written, allow_emulation=False)
    assert warned.message == (
        "FP8 in part: the multiply-accumulates, 30.0% of them FP8 in the file, ran as float32 70.0%,"
        " float8_e4m3fn 30.0%"
    )
    with pytest.raises(CheckFailed, match="FP8 is emulated"):
        attest(
            executed({"float8_e4m3fn": 0.1, "float32": 0.9}),
            Precision.FP8,
            "cpu",
            written=written,
            allow_emulation=False,
        )


HALF_LSTM = {"int8": 0.1, "float32": 0.9}
"""A file that is INT8 in the tenth of it that is no LSTM."""


def test_a_file_is_held_to_what_it_promises_itself() -> None:
    (warned,) = attest(executed(HALF_LSTM), Precision.INT8, "cpu", written=HALF_LSTM, allow_emulation=False)
    assert warned.kind is Kind.OTHER_TYPE
    assert warned.message == (
        "INT8 in part: the multiply-accumulates, 10.0% of them INT8 in the file, ran as float32 90.0%,"
        " int8 10.0%"
    )


@pytest.mark.parametrize("share", [0.0, 0.04])
def test_a_run_that_keeps_less_than_half_of_the_promise_is_refused(share: float) -> None:
    ran = executed({"int8": share, "float32": 1 - share})
    with pytest.raises(CheckFailed, match="INT8 is emulated"):
        attest(ran, Precision.INT8, "cpu", written=HALF_LSTM, allow_emulation=False)
    with pytest.raises(CheckFailed, match="INT8 is emulated"):
        attest(ran, Precision.INT8, "cpu", written={}, allow_emulation=False)


def test_a_file_that_promises_nothing_is_no_int8_run() -> None:
    ran = executed({"float32": 1.0})
    with pytest.raises(CheckFailed, match="INT8 is emulated"):
        attest(ran, Precision.INT8, "cpu", written={"float32": 1.0}, allow_emulation=False)


def test_a_backend_that_computes_nothing_is_named() -> None:
    (warned,) = attest(executed({}, on_device=0.0), Precision.INT8, "cpu", written={}, allow_emulation=False)
    assert warned.kind is Kind.NOTHING_COMPUTED


def test_a_refusal_exits_with_one() -> None:
    assert CheckFailed.exit_code == 1


def test_an_allowed_fallback_is_named_and_allows_nothing_else() -> None:
    there = executed({"float32": 1.0}, on_device=0.4, fallback=("conv1",))
    (warned,) = attest(there, Precision.FP32, "npu", written={}, allow_emulation=False, allow_fallback=True)
    assert warned.kind is Kind.FALLBACK
    with pytest.raises(CheckFailed, match="INT8 is emulated"):
        attest(there, Precision.INT8, "npu", written={}, allow_emulation=False, allow_fallback=True)
