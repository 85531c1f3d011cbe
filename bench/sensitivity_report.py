"""What `bench sensitivity` found, as tables a person can read and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TextIO

from bench.candidates import Candidate, is_dominated
from bench.report import WIDTH, milliseconds
from calibration.precision import Precision
from calibration.sensitivity import LayerSensitivity

if TYPE_CHECKING:
    from rich.table import Table

    from bench.sensitivity_findings import Repair, Report

SCHEMA_VERSION: Final = 2
"""1: first version; 2: `kept_in`"""

CHOSEN, DOMINATED, NEAREST = "chosen", "dominated", "nearest"


def print_report(report: Report, stream: TextIO, width: int | None = None, top: int = 20) -> None:
    """The `top` layers, the candidates, and the verdict, in `width` columns."""
    from rich.console import Console

    console = Console(file=stream, width=width or WIDTH, highlight=False)
    for line in _head(report):
        console.print(line, markup=False)
    console.print(_layer_table(report, top))
    if len(report.sensitivity.layers) > top:
        console.print(
            f"and {len(report.sensitivity.layers) - top} more: --top, --json or --out", markup=False
        )
    if report.repair is not None:
        console.print(_candidate_table(report.repair))
        console.print(verdict(report.repair), markup=False)
        for line in _afterwards(report.repair):
            console.print(line, markup=False)


def share(reached: float) -> str:
    """In percent; what is not all of it is not shown as if it were."""
    return "> 99.99 %" if 0.99995 <= reached < 1 else f"{100 * reached:.2f} %"


def verdict(repair: Repair) -> str:
    """The answer in a line."""
    best, layers = repair.best, max(len(each.kept) for each in repair.candidates)
    reached = f"{repair.criterion} {share(best.reached)} on {repair.samples} samples"
    gate = f"the gate of {repair.gate:.4g}"
    if repair.kept is None:
        return (
            f"no mixture of int8 and {repair.kept_in} meets {gate}: {reached} is the most, with"
            f" {len(best.kept)} of {layers} layers in float; use fp32, fp16 or bf16, or a lower --gate"
        )
    if not repair.kept:
        return f"int8 meets {gate} as it is: {reached}"
    return (
        f"{len(repair.kept)} of {layers} layers in {repair.kept_in} meet {gate}: {reached} (int8:"
        f" {share(repair.int8.reached)}), {best.speed_up:.2f}x the speed of fp32 (int8:"
        f" {repair.int8.speed_up:.2f}x)"
    )


def standing(candidate: Candidate, repair: Repair) -> str:
    """What a candidate is among the others; "" for one on the Pareto front that was not chosen."""
    if candidate == repair.best:
        return CHOSEN if repair.met else NEAREST
    return DOMINATED if is_dominated(candidate, repair.candidates) else ""


def to_json(report: Report) -> str:
    """One indented object; a ratio that is infinite, where INT8 changes nothing, is null."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "model": report.title,
        "backend": report.backend,
        "device": report.device,
        "feeds": report.feeds,
        "synthetic": report.synthetic,
        "fp32_sha256": report.fp32_sha256,
        "samples": report.sensitivity.samples,
        "output_samples": report.sensitivity.output_samples,
        "ranked_by": _RANKED_BY,
        "layers": [
            {"rank": rank, **_layer(layer)} for rank, layer in enumerate(report.sensitivity.ranking, start=1)
        ],
        "repair": None if report.repair is None else _repair(report.repair),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _layer(layer: LayerSensitivity) -> dict[str, Any]:
    return {
        "node": layer.node,
        "operator": layer.op_type,
        "macs": layer.macs,
        "macs_share": layer.macs_share,
        "damage": _finite(layer.damage),
        "output_sqnr_db": _finite(layer.output_sqnr_db),
        "sqnr_db": _finite(layer.sqnr_db),
        "cumulative_sqnr_db": _finite(layer.cumulative_sqnr_db),
    }


def _repair(repair: Repair) -> dict[str, Any]:
    return {
        "gate": repair.gate,
        "criterion": repair.criterion,
        "samples": repair.samples,
        "kept_in": repair.kept_in.value,
        "met": repair.met,
        "verdict": verdict(repair),
        "kept": None if repair.kept is None else list(repair.kept),
        "graph": None if repair.graph is None else str(repair.graph.path),
        "graph_sha256": None if repair.graph is None else repair.graph.entry.sha256,
        "candidates": [_candidate(each, repair) for each in repair.candidates],
    }


def _candidate(candidate: Candidate, repair: Repair) -> dict[str, Any]:
    return {
        "precision": candidate.precision.value,
        "kept": list(candidate.kept),
        "int8_macs": candidate.int8_macs,
        "reached": candidate.reached,
        "latency_ns": candidate.latency_ns,
        "speed_up": candidate.speed_up,
        "standing": standing(candidate, repair),
        "accuracy": None if candidate.accuracy is None else candidate.accuracy.model_dump(mode="json"),
        "warnings": list(candidate.warnings),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _head(report: Report) -> Iterator[str]:
    samples = report.sensitivity.samples
    yield f"{report.title}; {report.backend} on {report.device}"
    yield f"layers compared with int8 on {samples} sample{'s' if samples > 1 else ''} of: {report.feeds}"
    if report.synthetic:
        yield "warning: made-up inputs: what is found holds for such inputs only; give --feeds or --data"


def _layer_table(report: Report, top: int) -> Table:
    table = _table("rank", "layer", "operator", "MACs", "outputs dB", "SQNR dB", "cumulative dB", "in float")
    kept = (report.repair.kept if report.repair is not None else None) or ()
    for rank, layer in enumerate(report.sensitivity.ranking[:top], start=1):
        table.add_row(
            str(rank),
            layer.node,
            layer.op_type,
            f"{layer.macs_share:.1%}",
            _decibels(layer.output_sqnr_db),
            _decibels(layer.sqnr_db),
            _decibels(layer.cumulative_sqnr_db),
            "kept" if layer.node in kept else "",
        )
    return table


def _candidate_table(repair: Repair) -> Table:
    table = _table("in float", "MACs in int8", repair.criterion, "[95 %]", "SQNR dB", "p50 ms", "vs fp32", "")
    for each in repair.candidates:
        table.add_row(
            each.precision.value if each.precision is not Precision.INT8_MIXED else str(len(each.kept)),
            f"{each.int8_macs:.1%}",
            share(each.reached),
            _interval(each),
            "-" if each.accuracy is None else _decibels(each.accuracy.sqnr_db),
            milliseconds(each.latency_ns),
            f"{each.speed_up:.2f}x",
            standing(each, repair),
        )
    return table


def _afterwards(repair: Repair) -> Iterator[str]:
    for line in dict.fromkeys(line for each in repair.candidates for line in each.warnings):
        yield f"warning: {line}"
    if repair.graph is not None:
        yield f"mixed graph: {repair.graph.path} (--precision {Precision.INT8_MIXED})"


def _table(*headers: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, justify="left" if header in _LEFT else "right", overflow="fold")
    return table


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _interval(candidate: Candidate) -> str:
    found = candidate.interval
    return "-" if found is None else f"{100 * found[0]:.1f}, {100 * found[1]:.1f}"


_RANKED_BY = (
    "damage: energy of the noise over that of the signal: in the outputs where the layer alone is int8, or,"
    " where output_sqnr_db is null, in the layer's result on fp32's inputs"
)
_LEFT = frozenset({"layer", "operator", "in float", ""})
