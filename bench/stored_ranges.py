"""Calibrated ranges that are there: in the store, or in a file of the user's.

In the store they lie beside the graph they belong to, as ranges-<key over their facts>.json, so that each
is found once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.provenance import Facts, changes, nearest
from bench.store import Notices, StoredGraph, digest_of
from calibration.ranges import Ranges
from runtime.errors import CalibrationError, UsageError


def stored_ranges(folder: Path, facts: Facts, make: Callable[[], Ranges], notices: Notices) -> Ranges:
    """The ranges in `folder` with these facts; found by `make`, and kept there, if there are none.

    facts: everything the ranges depend on; `feeds` among them, the digest of the samples. Whoever takes
           the notices learns why ranges that are there do not serve.
    Raises StoreError and what `make` raises.
    """
    path = folder / f"ranges-{digest_of(facts)[:12]}.json"
    if path.exists():
        found = _sound(path, facts, notices)
        if found is not None:
            return found
    else:
        _tell_why(folder, facts, notices)
    ranges = make().with_origin(facts["feeds"], facts)
    ranges.save(path)
    return ranges


def given_ranges(path: Path, graph: StoredGraph) -> Ranges:
    """The ranges in the user's file, which must be those of `graph`; raises UsageError, CalibrationError."""
    ranges = Ranges.load(path)
    if ranges.graph != graph.entry.sha256:
        raise UsageError(
            f"--ranges {path} is of the graph {ranges.graph[:12]}, and {graph.path.name} is"
            f" {graph.entry.sha256[:12]}: {_difference(ranges, graph.path)};"
            " find this one's with `bench calibrate`"
        )
    return ranges


def _difference(ranges: Ranges, graph: Path) -> str:
    from calibration.collect import observed_tensors

    wanted = set(observed_tensors(graph))
    strange, missing = sorted(set(ranges.tensors) - wanted), sorted(wanted - set(ranges.tensors))
    told = []
    if strange:
        told.append(f"{len(strange)} of its tensors are not in this graph, such as {strange[0]!r}")
    if missing:
        told.append(f"{len(missing)} of this graph's have no range in it, such as {missing[0]!r}")
    return " and ".join(told) or "the tensors are the same ones, the weights or attributes are not"


def _sound(path: Path, facts: Facts, notices: Notices) -> Ranges | None:
    try:
        ranges = Ranges.load(path)
    except CalibrationError as error:
        notices.warn(f"{path} is damaged ({error.__cause__}); finding the ranges anew")
        return None
    return ranges if ranges.provenance == facts else None


def _tell_why(folder: Path, facts: Facts, notices: Notices) -> None:
    closest = nearest(facts, _provenances(folder))
    if closest is not None:
        notices.note(f"stored ranges do not serve, finding them anew: {changes(closest, facts)}")


def _provenances(folder: Path) -> Iterator[Facts]:
    """Of the sound files in the folder, the oldest first."""
    for path in sorted(folder.glob("ranges-*.json"), key=lambda path: path.stat().st_mtime_ns):
        try:
            yield Ranges.load(path).provenance
        except CalibrationError:
            continue
