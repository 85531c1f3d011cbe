"""What `bench data` tells of official data sets: the list of them, and the state of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.data_registry import registry_lines
from bench.progress import Display
from model_zoo.datasets import DATA_SETS, DataSet, Finding, Report, check, recognised


def list_lines() -> Iterator[str]:
    """The sets with their layouts, then what installs from a registry."""
    yield "data sets of yours, for --data DIR (nothing of them is fetched)"
    for data_set in DATA_SETS.values():
        yield from (f"  {line}" for line in _layout(data_set))
    yield ""
    yield "weights and data from package registries (DATA.md)"
    yield from (f"  {line}" for line in registry_lines())


def _layout(data_set: DataSet) -> Iterator[str]:
    sizes = ", ".join(f"{edition} {count:,}" for edition, count in data_set.published.items())
    yield f"{data_set.name}: {data_set.title}; {data_set.unit}: {sizes}"
    yield f"    for {', '.join(data_set.metrics)}; {data_set.terms}"
    below = [folder for folder in data_set.folders if folder]
    if below:
        yield f"    in DIR or its {', '.join(below)}"
    for part in data_set.parts:
        optional = " (optional)" if part.optional else ""
        yield f"    {' or '.join(part.patterns)}: {part.what}{optional}"


def examine(folder: Path, display: Display, *, decode: bool = True) -> list[Report]:
    """One report for each set that a folder holds; raises UsageError where it holds none."""
    reports = []
    for data_set, root in recognised(folder):
        with display.step(f"reading {data_set.title} in {root}"):
            reports.append(check(data_set, root, decode=decode, progress=display))
    return reports


def report_lines(reports: Sequence[Report]) -> Iterator[str]:
    """The reports, line by line."""
    for report in reports:
        yield f"{report.name} in {report.folder}: {'complete' if report.complete else 'not complete'}"
        yield from (f"  missing   {name}" for name in report.missing)
        yield from (f"  {count:>9,} {what}" for what, count in report.counts.items())
        yield from (f"  problem   {_told(finding)}" for finding in report.problems)
        yield from (f"  remark    {_told(finding)}" for finding in report.remarks)


def _told(finding: Finding) -> str:
    more = finding.count - len(finding.examples)
    examples = "; ".join(finding.examples) + (f"; and {more:,} more" if more else "")
    return f"{finding.what} ({finding.count:,}): {examples}"
