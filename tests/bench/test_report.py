"""The table, to the letter."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bench.report import milliseconds, print_table, warning_lines
from tests.bench.factories import accuracy, record


def few(samples: int) -> dict[str, str]:
    message = f"p99 of {samples} samples is the largest"
    return {"kind": "few-samples", "message": message, "advice": "raise --duration"}


WIDE = {"kind": "executed-as-other-type", "message": "FP16 file, but 100% ran as float32", "advice": ""}
INT8_LATENCY = {
    "min": 7_900_000,
    "mean": 8_100_000.0,
    "p50": 8_000_000,
    "p90": 9_000_000,
    "p95": 9_100_000,
    "p99": 9_500_000,
    "p50_ci95": [7_950_000, 8_050_000],
}
LOWERED = {
    "on_device_macs": 1.0,
    "macs_by_type": {"float32": 0.099, "int8": 0.9, "unknown": 0.001},
    "fallback_nodes": [],
    "lowering": "int8 as uint8",
    "evidence": "profile",
}
GOLDEN = Path(__file__).with_name("golden") / "table.txt"
RECORDS = (
    record(warnings=[few(50)]),
    record(
        precision="fp16",
        accuracy=accuracy(agreement=1.0, agreement_ci95=[0.943, 1.0], sqnr_db=61.23),
        graph={**record().graph.model_dump(), "sha256": "b" * 64},
        warnings=[few(50), WIDE],
    ),
    record(
        precision="int8",
        latency_ns=INT8_LATENCY,
        throughput={"samples_per_second": 1124.6, "ci95": None},
        accuracy=accuracy(),
        executed=LOWERED,
        graph={**record().graph.model_dump(), "sha256": "c" * 64},
        warnings=[few(90)],
    ),
)


def table(*records: object, width: int = 160) -> list[str]:
    stream = io.StringIO()
    print_table(records, stream, width)  # type: ignore[arg-type]
    return [line.rstrip() for line in stream.getvalue().splitlines() if line.strip()]


def test_precisions_of_one_model_stand_side_by_side() -> None:
    assert table(*RECORDS) == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_a_single_record_has_nothing_to_be_compared_with() -> None:
    lines = table(record(), width=100)
    assert lines[0] == "resnet50, tensorflow, ort, cpu, fp32, batch 1; single-stream, device boundary"
    assert lines[3].split() == [
        "precision",
        "p50",
        "ms",
        "[95",
        "%]",
        "p99",
        "ms",
        "samples/s",
        "executed",
        "as",
        "graph",
    ]


def test_what_differs_gets_a_column() -> None:
    lines = table(record(), record(batch_size=8), record(framework="caffe"))
    assert lines[0] == "resnet50, ort, cpu, fp32; single-stream, device boundary"
    assert lines[3].split()[:3] == ["framework", "precision", "batch"]


def test_speed_up_is_against_the_fp32_cell_that_is_otherwise_alike() -> None:
    fast = record(batch_size=8, latency_ns=INT8_LATENCY)
    lines = table(record(), fast, record(precision="int8", batch_size=8, latency_ns=INT8_LATENCY))
    assert [line.split()[7] for line in lines[5:8]] == ["1.00×"] * 3


def test_a_precision_without_its_fp32_cell_has_no_speed_up() -> None:
    lines = table(RECORDS[1], RECORDS[2])
    assert all(" - " in line for line in lines[5:7])


def test_identical_outputs_are_called_identical() -> None:
    same = accuracy(sqnr_db=None, max_abs_error=0.0, cosine=None, agreement=None, agreement_ci95=None)
    assert "identical" in table(record(precision="fp16", accuracy=same))[5]


def test_warnings_of_one_kind_are_one_line() -> None:
    assert warning_lines(RECORDS) == [
        "warning: few-samples: [fp32, fp16] p99 of 50 samples is the largest, [int8] p99 of 90 samples is the"
        " largest; raise --duration",
        "warning: executed-as-other-type: [fp16] FP16 file, but 100% ran as float32",
    ]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (1_234_567_890, "1234.6"),
        (20_004_000, "20.00"),
        (1_000_000, "1.00"),
        (123_456, "0.123"),
        (105, "0.000105"),
        (60, "0.000060"),
    ],
)
def test_times_are_read_in_milliseconds(nanoseconds: int, text: str) -> None:
    assert milliseconds(nanoseconds) == text
