"""What `bench accuracy` found out: as a table, as JSON, as a page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TextIO

from bench.gates import Outcome
from bench.judged import ExamReport, Judged, NotJudged
from bench.mlperf import target_of
from bench.report import WIDTH
from bench.worst import Changed
from runtime.tensors import Array

_MLPERF = {"resnet50": "resnet", "bert": "bert", "nmt": "gnmt"}
"""Model to MLPerf's task."""

_SHORT = 60
"""Characters of a sample or an answer in the table of the worst."""


def print_reports(reports: Sequence[ExamReport], stream: TextIO, width: int | None = None) -> None:
    """A table for each labelled set, and the samples that came out worst."""
    from rich.console import Console

    console = Console(file=stream, width=width or WIDTH, highlight=False)
    for report in reports:
        for line in _head(report):
            console.print(line, markup=False)
        console.print(_table(report))
        for line in _below(report):
            console.print(line, markup=False)
        for row in report.rows:
            if isinstance(row, Judged) and row.worst:
                console.print(f"worst of {row.precision} on {row.backend}:", markup=False)
                console.print(_worst_table(row.worst))


def to_json(reports: Sequence[ExamReport]) -> str:
    """An array with an object for each labelled set."""
    return json.dumps([_document(report) for report in reports], indent=2, ensure_ascii=False) + "\n"


def to_html(reports: Sequence[ExamReport]) -> str:
    """One page that needs no other file; raises UnavailableError where jinja2 is not installed."""
    from bench.pages import render

    return render("accuracy", reports=[_page(report) for report in reports])


def failed(reports: Sequence[ExamReport]) -> bool:
    """Whether any gate says no; too few samples to decide say neither."""
    return any(
        isinstance(row, Judged) and row.verdict is not None and row.verdict.outcome is Outcome.FAIL
        for report in reports
        for row in report.rows
    )


def problems(reports: Sequence[ExamReport]) -> Iterator[NotJudged]:
    """What could not be judged."""
    for report in reports:
        yield from (row for row in report.rows if isinstance(row, NotJudged))


def title_of(report: ExamReport) -> str:
    """The model with its variant and framework."""
    return f"{'-'.join(filter(None, (report.model, report.variant)))} ({report.framework_name})"


def kind_of(report: ExamReport) -> str:
    """What the figures are: accuracy, or no more than fidelity."""
    return (
        f"accuracy on {report.labels}" if report.labels else "fidelity, not accuracy: no labels are at hand"
    )


def _head(report: ExamReport) -> list[str]:
    lines = [
        f"{title_of(report)}, weights {report.weights}: {kind_of(report)}",
        f"{report.samples} samples: {report.data}",
        f"compared with the {report.reference}, sample by sample",
    ]
    target = target_of(_MLPERF.get(report.model, "")) if not report.variant else None
    if target is not None:
        shares = ", ".join(f"{target.least(gate):.2f} ({gate:.1%} of it)" for gate in target.gates)
        lines.append(f"MLPerf, {target.model}: {target.title} {target.reference:g}; targets {shares}")
    return lines


def _below(report: ExamReport) -> Iterator[str]:
    if report.framework is not None:
        same = report.samples - report.framework
        yield f"{report.framework_name} itself gives the same answer to {same} of {report.samples} samples"
    warned: dict[str, list[str]] = {}
    for row in report.rows:
        for message in row.warnings if isinstance(row, Judged) else ():
            warned.setdefault(message, []).append(f"{row.precision} on {row.backend}")
    for message, cells in warned.items():
        yield f"warning: [{', '.join(cells)}] {message}"


def _table(report: ExamReport) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    metrics = list(dict.fromkeys(name for row in _judged(report) for name in row.scores))
    left = ("precision", "backend", "verdict", "executed as")
    for header in (
        "precision",
        "backend",
        *metrics,
        "of fp32's [interval]",
        "changed",
        "verdict",
        "executed as",
    ):
        table.add_column(header, justify="left" if header in left else "right", overflow="fold")
    for row in report.rows:
        if isinstance(row, Judged):
            table.add_row(*_cells(row, metrics))
        else:
            empty = [""] * (len(metrics) + 2)
            table.add_row(row.precision.value, row.backend, *empty, f"not judged: {row.error}", "")
    return table


def _cells(row: Judged, metrics: Sequence[str]) -> list[str]:
    scores = [f"{row.scores[name]:.4f}" if name in row.scores else "" for name in metrics]
    return [
        row.precision.value,
        row.backend,
        *scores,
        _ratio(row),
        "-" if row.changed is None else str(row.changed),
        _verdict(row),
        _types(row.types),
    ]


def _ratio(row: Judged) -> str:
    if row.verdict is None:
        return "reference"
    verdict = row.verdict
    return f"{verdict.ratio:.2%} [{verdict.low:.2%}, {verdict.high:.2%}]"


def _verdict(row: Judged) -> str:
    if row.verdict is None:
        return "-"
    verdict = row.verdict
    if verdict.outcome is Outcome.TOO_FEW and verdict.needed:
        return f"too few samples to decide {verdict.gate:g} (n needed: {verdict.needed:,})"
    if verdict.outcome is Outcome.PASS:
        return f"pass {verdict.gate:g}"
    return f"{verdict.outcome} {verdict.gate:g}: {verdict.reason}"


def _types(types: Mapping[str, float]) -> str:
    largest_first = sorted(types.items(), key=lambda pair: -pair[1])
    return ", ".join(name if share > 0.9995 else f"{name} {share:.1%}" for name, share in largest_first)


def _worst_table(worst: Sequence[Changed]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("sample", "right", "fp32", "this", "lost"):
        table.add_column(header, justify="right" if header == "lost" else "left", overflow="fold")
    for each in worst:
        words = (_short(text) for text in (each.asked, each.truth, each.before, each.after))
        table.add_row(*words, f"{each.lost:.3g}")
    return table


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."


def _judged(report: ExamReport) -> Iterator[Judged]:
    return (row for row in report.rows if isinstance(row, Judged))


def _document(report: ExamReport) -> dict[str, Any]:
    rows = [_row(row) for row in report.rows]
    facts = {name: getattr(report, name) for name in report.__dataclass_fields__ if name != "rows"}
    return {**facts, "kind": kind_of(report), "rows": rows}


def _row(row: Judged | NotJudged) -> dict[str, Any]:
    if isinstance(row, NotJudged):
        return {"precision": row.precision.value, "backend": row.backend, "error": str(row.error)}
    worst = [{name: value for name, value in asdict(each).items() if name != "picture"} for each in row.worst]
    return {
        "precision": row.precision.value,
        "backend": row.backend,
        "backend_version": row.version,
        "graph_sha256": row.graph_sha256,
        "scores": dict(row.scores),
        "verdict": row.verdict.as_json() if row.verdict else None,
        "macs_by_type": dict(row.types),
        "changed": row.changed,
        "worst": worst,
        "warnings": list(row.warnings),
    }


def _page(report: ExamReport) -> dict[str, Any]:
    metrics = list(dict.fromkeys(name for row in _judged(report) for name in row.scores))
    header = ["precision", "backend", *metrics, "of fp32's", "changed", "verdict", "executed as"]
    rows = [
        {"cells": _cells(row, metrics), "outcome": row.verdict.outcome.name.lower() if row.verdict else ""}
        for row in _judged(report)
    ]
    lost = [
        {
            "title": f"{row.precision} on {row.backend}",
            "samples": [{**asdict(each), "picture": _png(each.picture)} for each in row.worst],
        }
        for row in _judged(report)
        if row.worst
    ]
    notes = [f"{row.precision} on {row.backend}: {row.error}" for row in problems([report])]
    return {
        "title": title_of(report),
        "head": _head(report),
        "below": [*_below(report), *notes],
        "header": header,
        "rows": rows,
        "worst": lost,
    }


def _png(picture: Array | None) -> str | None:
    """As a data address."""
    if picture is None:
        return None
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
