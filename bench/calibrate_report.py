"""Calibrated ranges as tables a person can read, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TextIO

from bench.calibrate import Calibrated
from bench.report import WIDTH
from calibration.range_differences import RangeDifference, RangeDifferences
from calibration.ranges import Range, Ranges

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA_VERSION: Final = 1
"""1: first version"""

_ENDS = 5
"""Tensors shown of either end."""


def print_ranges(found: Calibrated, stream: TextIO, width: int | None = None, top: int = 10) -> None:
    """The widest and the narrowest ranges, counts, and the `top` differences, in `width` columns."""
    from rich.console import Console

    console = Console(file=stream, width=width or WIDTH, highlight=False)
    for line in _head(found):
        console.print(line, markup=False)
    console.print(_ends_table(found.ranges))
    if found.differences is not None:
        console.print(_difference_table(found.differences.tensors[:top]))
        console.print(difference_line(found.differences), markup=False)


def difference_line(differences: RangeDifferences) -> str:
    """What tells two sets of ranges apart, in a line."""
    if not differences.comparable:
        return f"not ranges of the same tensors: {', '.join(_unlike(differences))}"
    equal = sum(each.ratio == 1.0 for each in differences.tensors)
    return f"{equal} of {len(differences.tensors)} tensors are clipped at the same magnitude"


def to_json(found: Calibrated) -> str:
    """One indented object with every tensor; a ratio to zero is null."""
    ranges, differences = found.ranges, found.differences
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "model": found.model,
        "variant": found.variant,
        "framework": found.framework,
        "graph": ranges.graph,
        "method": ranges.method,
        "samples": ranges.samples,
        "feeds": found.origin,
        "feeds_digest": ranges.feeds,
        "provenance": dict(ranges.provenance),
        "tensors": {name: _range_json(each) for name, each in ranges.tensors.items()},
        "differences": None if differences is None else _differences_json(differences),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _range_json(found: Range) -> dict[str, float]:
    return {
        "minimum": found.minimum,
        "maximum": found.maximum,
        "amax": found.amax,
        "scale": found.scale,
    }


def _differences_json(differences: RangeDifferences) -> dict[str, Any]:
    return {
        "same_graph": differences.same_graph,
        "missing": differences.missing,
        "added": differences.added,
        "tensors": [
            {
                "tensor": each.tensor,
                "amax": each.amax,
                "other": each.other,
                "ratio": each.ratio if math.isfinite(each.ratio) else None,
            }
            for each in differences.tensors
        ],
    }


def _head(found: Calibrated) -> Iterator[str]:
    ranges = found.ranges
    name = "-".join(filter(None, (found.model, found.variant)))
    yield f"{name} ({found.framework}), graph {ranges.graph[:12]}"
    yield f"{ranges.method} over {ranges.samples} samples: {found.origin}"
    values = ranges.tensors.values()
    clipped = sum(each.amax < max(-each.minimum, each.maximum) for each in values)
    positive = sum(each.minimum >= 0 for each in values)
    zero = sum(each.amax == 0 for each in values)
    yield (
        f"{len(ranges.tensors)} tensors: {clipped} clipped, {positive} never negative"
        f"{f', {zero} nothing but zeros' if zero else ''}"
    )


def _ends_table(ranges: Ranges) -> Table:
    """All of them where there are few; else the widest and the narrowest."""
    table = _table("tensor", "minimum", "maximum", "clipped at", "scale")
    ordered = sorted(ranges.tensors.items(), key=lambda item: -item[1].amax)
    if len(ordered) <= 2 * _ENDS:
        _add_ranges(table, ordered)
        return table
    _add_ranges(table, ordered[:_ENDS])
    table.add_row(f"... {len(ordered) - 2 * _ENDS} between", "", "", "", "")
    _add_ranges(table, ordered[-_ENDS:])
    return table


def _add_ranges(table: Table, ranges: Iterable[tuple[str, Range]]) -> None:
    for name, found in ranges:
        numbers = (found.minimum, found.maximum, found.amax, found.scale)
        table.add_row(name, *(f"{number:.5g}" for number in numbers))


def _difference_table(differences: Iterable[RangeDifference]) -> Table:
    table = _table("tensor", "clipped at", "other", "ratio")
    for each in differences:
        table.add_row(each.tensor, f"{each.amax:.5g}", f"{each.other:.5g}", f"{each.ratio:.4g}")
    return table


def _table(*headers: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", overflow="fold")
    return table


def _unlike(differences: RangeDifferences) -> Iterator[str]:
    if not differences.same_graph:
        yield "the graphs differ"
    for names, what in ((differences.missing, "only in the other"), (differences.added, "only in these")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield f"{names[0]!r}{more} {what}"
