"""What `bench conformance` found, as tables a person can read, and as JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from bench.conformance import Conformance
from bench.conformance_distance import told_error
from bench.conformance_outcome import FAILURES, Outcome, Score, Verdict, operators_of, score_of
from bench.environment import package_version
from bench.report import WIDTH

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA_VERSION: Final = 1
"""1: first version"""

_SAID = 300
"""Characters shown of what a case says; --json has all of it."""


def print_conformance(found: Conformance, stream: TextIO, width: int | None = None) -> None:
    """The score, what did not pass by operator and opset, and every failure with its line."""
    from rich.console import Console

    console = Console(file=stream, width=width or WIDTH, highlight=False)
    for line in _head(found):
        console.print(line, markup=False)
    if found.operators:
        console.print(_operator_table(found.operators))
        console.print(_all_passed(found.operators), markup=False)
    if found.graphs:
        console.print(_graph_table(found.graphs))
    for line in (*_failure_lines(found.failed), *_not_applicable_lines(found.outcomes)):
        console.print(line, markup=False)


def conclusion(found: Conformance) -> str:
    """Why the answer is no, in a line."""
    count = Counter(each.verdict for each in found.failed)
    told = ", ".join(f"{count[verdict]} {verdict}" for verdict in FAILURES if count[verdict])
    return f"backend {found.backend} is not conformant: {told} of {score_of(found.outcomes).applicable} cases"


def to_json(found: Conformance) -> str:
    """One indented object with every case; an error without bounds is null."""
    operators, graphs = found.operators, found.graphs
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "backend": found.backend,
        "backend_version": found.version,
        "device": found.device,
        "device_description": found.description,
        "harness": f"aimatrix {package_version('aimatrix')}",
        "onnx": package_version("onnx"),
        "complete": found.complete,
        "score": {
            "cases": _score_json(score_of(operators)),
            "operators": _score_json(operators_of(operators)),
            "graphs": _score_json(score_of(graphs)),
        },
        "operators": [
            {"operator": operator, "opset": opset, **_count_json(each)}
            for (operator, opset), each in by_operator(operators).items()
        ],
        "cases": [_case_json(each) for each in operators],
        "graphs": [_case_json(each) for each in graphs],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def by_operator(outcomes: Iterable[Outcome]) -> Mapping[tuple[str, int], Sequence[Outcome]]:
    """Outcomes of each operator and opset, in their order."""
    found: dict[tuple[str, int], list[Outcome]] = {}
    for each in outcomes:
        found.setdefault((each.operator, each.opset), []).append(each)
    return found


def _score_json(score: Score) -> dict[str, float]:
    return {"passed": score.passed, "applicable": score.applicable, "share": score.share}


def _count_json(outcomes: Iterable[Outcome]) -> dict[str, int]:
    count = Counter(each.verdict for each in outcomes)
    return {verdict.value.replace(" ", "_"): count[verdict] for verdict in Verdict}


def _case_json(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error if outcome.error is not None and math.isfinite(outcome.error) else None
    return {
        "name": outcome.case,
        "suite": outcome.suite,
        "operator": outcome.operator,
        "opset": outcome.opset,
        "verdict": outcome.verdict,
        "said": outcome.said,
        "error": error,
        **({} if outcome.ran_as is None else _graph_json(outcome)),
    }


def _graph_json(outcome: Outcome) -> dict[str, Any]:
    return {"of_answers": outcome.of_answers, "ran_as": dict(outcome.ran_as or {})}


def _head(found: Conformance) -> Iterator[str]:
    yield f"{found.backend}: {found.version} on {found.device} ({found.description})"
    if not found.complete:
        yield "interrupted: what follows is of the cases until then"
    if found.operators:
        yield (
            f"cases of operators (onnx {package_version('onnx')}): {score_of(found.operators)} pass;"
            f" operators of which any does: {operators_of(found.operators)}"
        )
    if found.graphs:
        yield f"graphs: {score_of(found.graphs)} pass"


def _operator_table(outcomes: Sequence[Outcome]) -> Table:
    """A row an operator and opset of which not every case passes."""
    table = _table("operator", "opset", *(verdict.value for verdict in Verdict))
    for (operator, opset), each in by_operator(outcomes).items():
        count = Counter(outcome.verdict for outcome in each)
        if count[Verdict.PASS] < len(each):
            table.add_row(operator, str(opset), *(str(count[verdict] or "-") for verdict in Verdict))
    total = Counter(outcome.verdict for outcome in outcomes)
    table.add_section()
    table.add_row("all", "", *(str(total[verdict] or "-") for verdict in Verdict))
    return table


def _all_passed(outcomes: Sequence[Outcome]) -> str:
    rows = by_operator(outcomes)
    names: dict[str, list[str]] = {}
    for (operator, opset), each in rows.items():
        if all(outcome.verdict is Verdict.PASS for outcome in each):
            names.setdefault(operator, []).append(str(opset))
    told = ", ".join(f"{operator} {'/'.join(opsets)}" for operator, opsets in names.items())
    return f"every case passes: {told or 'of no operator'}"


def _graph_table(outcomes: Iterable[Outcome]) -> Table:
    table = _table("graph", "opset", "", "error", "executed as")
    for each in outcomes:
        error = (
            "-"
            if each.error is None or math.isinf(each.error)
            else told_error(each.error, of_answers=each.of_answers)
        )
        table.add_row(each.case, str(each.opset or "-"), each.verdict, error, _types(each.ran_as))
    return table


def _types(ran_as: Mapping[str, float] | None) -> str:
    if not ran_as:
        return "-"
    largest_first = sorted(ran_as.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in largest_first if share >= 0.005)


def _failure_lines(outcomes: Iterable[Outcome]) -> Iterator[str]:
    for each in outcomes:
        times = "" if each.error is None or each.ran_as is not None else _times(each.error)
        yield f"{each.verdict}: {each.case}: {each.said[:_SAID]}{times}"


def _times(error: float) -> str:
    return f" ({error:.3g} times the tolerance)" if math.isfinite(error) else ""


def _not_applicable_lines(outcomes: Iterable[Outcome]) -> Iterator[str]:
    left_out = [each for each in outcomes if each.verdict is Verdict.NOT_APPLICABLE]
    for said, count in Counter(each.said for each in left_out).most_common():
        yield f"not applicable: {count} {'case' if count == 1 else 'cases'}: {said[:_SAID]}"


def _table(*headers: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", overflow="fold")
    return table
