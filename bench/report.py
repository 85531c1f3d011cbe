"""Records as a table a person can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from bench.record import AccuracyRecord, Record
from calibration.precision import Precision

WIDTH = 160
"""Columns unless told: enough for whole rows, as a file should hold them."""


def print_table(records: Sequence[Record], stream: TextIO, width: int | None = None) -> None:
    """Write what all records share, a row for each, and each warning once, in `width` columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(file=stream, width=width or WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown = _shown_columns(records)
    for header, _ in shown:
        table.add_column(header, justify="left" if header in _LEFT else "right", overflow="fold")
    for record in records:
        table.add_row(*(text(record, records) for _, text in shown))
    for line in _head(records):
        console.print(line, markup=False)
    console.print(table)
    for line in (*_lowering_lines(records), *warning_lines(records)):
        console.print(line, markup=False)


def warning_lines(records: Sequence[Record]) -> list[str]:
    """A line for each kind: what was seen in which cells, and what to do about it."""
    kinds: dict[tuple[str, str], dict[str, list[str]]] = {}
    for record in records:
        for warning in record.warnings:
            seen = kinds.setdefault((warning.kind, warning.advice), {})
            seen.setdefault(warning.message, []).append(_cell(record, records))
    return [f"warning: {kind}: {_seen(seen, advice)}" for (kind, advice), seen in kinds.items()]


def _seen(seen: Mapping[str, Sequence[str]], advice: str) -> str:
    observations = ", ".join(
        f"[{', '.join(dict.fromkeys(cells))}] {message}" for message, cells in seen.items()
    )
    return f"{observations}; {advice}" if advice else observations


def milliseconds(nanoseconds: float) -> str:
    """Nanoseconds as milliseconds, with enough digits for a query that computes nothing."""
    value = nanoseconds / 1e6
    if value >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:#.3g}" if value >= 1e-4 else f"{value:.6f}"


Text = Callable[[Record, Sequence[Record]], str]


def _head(records: Sequence[Record]) -> list[str]:
    first = records[0]
    shared = [_labelled(name, text(first, records)) for name, text in _IDENTITY if _same(text, records)]
    threads = first.options.threads or first.environment.usable_cores
    lines = [
        f"{', '.join(shared)}; {first.scenario}, {first.boundary} boundary",
        f"{first.backend_version} on {first.device} ({first.device_description}), {threads} threads",
    ]
    judged = [record.accuracy for record in records if record.accuracy is not None]
    against = _against(judged) if judged else ""
    return [*lines, f"inputs: {first.feeds}{against}"]


def _against(judged: Sequence[AccuracyRecord]) -> str:
    return f"; agreement with the {judged[0].reference}, on {judged[0].samples} samples, 95 % interval"


def _shown_columns(records: Sequence[Record]) -> list[tuple[str, Text]]:
    """What all records share is said once above the table; the precision always has its column."""
    identity = _telling(records)
    fidelity = _FIDELITY if any(record.accuracy for record in records) else ()
    comparison = _COMPARISON if len(records) > 1 else ()
    return [*identity, *_SPEED, *comparison, *fidelity, *_PROOF]


def _same(text: Text, records: Sequence[Record]) -> bool:
    return len({text(record, records) for record in records}) == 1


def _lowering_lines(records: Sequence[Record]) -> list[str]:
    lowered = [record for record in records if record.executed.lowering]
    return [f"lowered: [{_cell(record, records)}] {record.executed.lowering}" for record in lowered]


def _cell(record: Record, records: Sequence[Record]) -> str:
    return " ".join(_labelled(name, text(record, records)) for name, text in _telling(records))


def _telling(records: Sequence[Record]) -> list[tuple[str, Text]]:
    return [(name, text) for name, text in _IDENTITY if name == "precision" or not _same(text, records)]


def _labelled(name: str, value: str) -> str:
    return f"batch {value}" if name == "batch" else value


def _p50(record: Record, _: Sequence[Record]) -> str:
    low, high = record.latency_ns.p50_ci95
    return f"{milliseconds(record.latency_ns.p50)} [{milliseconds(low)}, {milliseconds(high)}]"


def _throughput(record: Record, _: Sequence[Record]) -> str:
    rate = record.throughput.samples_per_second
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.1f}"


def _speed_up(record: Record, records: Sequence[Record]) -> str:
    """Ratio of median latencies to the FP32 cell that is otherwise alike."""
    for other in records:
        if other.precision == Precision.FP32 and _alike(other) == _alike(record):
            return f"{other.latency_ns.p50 / record.latency_ns.p50:.2f}×"
    return "-"


def _alike(record: Record) -> tuple[object, ...]:
    return (record.title, record.framework, record.backend, record.device, record.batch_size, record.boundary)


def _agreement(record: Record, _: Sequence[Record]) -> str:
    if record.accuracy is None:
        return "reference" if record.precision == Precision.FP32 else "-"
    if record.accuracy.agreement is None or record.accuracy.agreement_ci95 is None:
        return "-"
    low, high = record.accuracy.agreement_ci95
    return f"{record.accuracy.agreement:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def _cosine(record: Record, _: Sequence[Record]) -> str:
    if record.accuracy is None or record.accuracy.cosine is None:
        return "-"
    return f"{record.accuracy.cosine.mean:.5f}"


def _sqnr(record: Record, _: Sequence[Record]) -> str:
    if record.accuracy is None:
        return "-"
    if record.accuracy.sqnr_db is None:
        return "identical" if record.accuracy.max_abs_error == 0 else "-"
    return f"{record.accuracy.sqnr_db:.1f} dB"


def _executed(record: Record, _: Sequence[Record]) -> str:
    """In whole percents; the record and the warnings have the rest."""
    types = sorted(record.executed.macs_by_type.items(), key=lambda pair: -pair[1])
    shown = [name if share >= 0.995 else f"{name} {share:.0%}" for name, share in types if share >= 0.005]
    return ", ".join(shown) or "nothing"


_IDENTITY: tuple[tuple[str, Text], ...] = (
    ("model", lambda record, _: record.title),
    ("framework", lambda record, _: record.framework),
    ("backend", lambda record, _: record.backend),
    ("device", lambda record, _: record.device),
    ("precision", lambda record, _: record.precision),
    ("batch", lambda record, _: str(record.batch_size)),
)

_SPEED: tuple[tuple[str, Text], ...] = (
    ("p50 ms [95 %]", _p50),
    ("p99 ms", lambda record, _: milliseconds(record.latency_ns.p99)),
    ("samples/s", _throughput),
)

_COMPARISON: tuple[tuple[str, Text], ...] = (("vs fp32", _speed_up),)

_FIDELITY: tuple[tuple[str, Text], ...] = (
    ("agreement [95 %]", _agreement),
    ("cosine", _cosine),
    ("SQNR", _sqnr),
)

_PROOF: tuple[tuple[str, Text], ...] = (
    ("executed as", _executed),
    ("graph", lambda record, _: record.graph.sha256[:12]),
)

_LEFT = frozenset({"model", "framework", "backend", "device", "precision", "executed as", "graph"})
