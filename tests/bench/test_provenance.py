from __future__ import annotations

from pathlib import Path

import pytest

from bench.provenance import changed, changes, nearest
from bench.stored_ranges import stored_ranges
from calibration.ranges import Range, Ranges

FACTS = {"feeds": "f" * 64, "method": "entropy", "samples": "64", "tool onnxruntime": "1.32.0"}
RANGES = Ranges({"x": Range(-1.0, 2.0, 1.5)}, "entropy", 64, "ab")


class Told:
    """Notices, remembered."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def warn(self, line: str) -> None:
        self.warnings.append(line)


class Finder:
    """Finds RANGES, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Ranges:
        self.calls += 1
        return RANGES


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"feeds": "0" * 64}, "feeds changed"),
        ({"feeds": "synthetic-0"}, "feeds changed"),
        ({"tool onnxruntime": "1.33.0"}, "onnxruntime 1.32.0 -> 1.33.0"),
        ({"method": "min-max", "samples": "8"}, "method entropy -> min-max, samples 64 -> 8"),
        ({"tool onnx": "1.23.2"}, "onnx none -> 1.23.2"),
    ],
)
def test_a_change_is_told_so_that_it_can_be_read(change: dict[str, str], told: str) -> None:
    assert changes(FACTS, {**FACTS, **change}) == told


def test_a_fact_that_is_gone_is_told() -> None:
    assert changes({**FACTS, "tool onnx": "1.23.2"}, FACTS) == "onnx 1.23.2 -> none"
    assert changed(FACTS, dict(reversed(FACTS.items()))) == []


def test_the_nearest_is_the_one_that_differs_least_and_the_last_of_equals() -> None:
    far, near = {**FACTS, "method": "min-max", "samples": "8"}, {**FACTS, "method": "min-max"}
    other = {**FACTS, "samples": "8"}
    assert nearest(FACTS, [far, near, other, far]) is other
    assert nearest(FACTS, []) is None


def test_ranges_are_found_once(tmp_path: Path) -> None:
    find, told = Finder(), Told()
    first = stored_ranges(tmp_path, FACTS, find, told)
    assert stored_ranges(tmp_path, FACTS, find, told) == first
    assert find.calls == 1
    assert first == RANGES.with_origin(FACTS["feeds"], FACTS)
    assert not told.notes + told.warnings


@pytest.mark.parametrize("name", FACTS)
def test_every_fact_makes_them_be_found_anew_and_is_named(tmp_path: Path, name: str) -> None:
    find, told = Finder(), Told()
    stored_ranges(tmp_path, FACTS, find, told)
    other = {**FACTS, name: "another"}
    stored_ranges(tmp_path, other, find, told)
    assert find.calls == 2
    assert told.notes == [f"stored ranges do not serve, finding them anew: {changes(FACTS, other)}"]
    stored_ranges(tmp_path, FACTS, find, told)
    assert find.calls == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_file_is_noticed_and_replaced(tmp_path: Path, damage: str) -> None:
    find, told = Finder(), Told()
    good = stored_ranges(tmp_path, FACTS, find, told)
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    path.write_text({"cut": text[:-20], "changed": text.replace("1.5", "1.6"), "empty": ""}[damage])
    assert stored_ranges(tmp_path, FACTS, find, told) == good
    assert find.calls == 2
    assert path.read_text() == text
    (warning,) = told.warnings
    assert f"{path} is damaged" in warning
    assert warning.endswith("finding the ranges anew")


def test_a_file_of_other_facts_under_this_name_is_not_believed(tmp_path: Path) -> None:
    find = Finder()
    stored_ranges(tmp_path, FACTS, find, Told())
    (path,) = tmp_path.iterdir()
    RANGES.with_origin("g", {**FACTS, "feeds": "g"}).save(path)
    assert stored_ranges(tmp_path, FACTS, find, Told()).provenance == FACTS
    assert find.calls == 2
