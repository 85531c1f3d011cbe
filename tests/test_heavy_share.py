"""The rotation of the heavy tests: nothing is forgotten."""

from __future__ import annotations

import pytest

from tests.conftest import _in_share


def test_every_heavy_test_runs_once_in_as_many_days_as_there_are_shares() -> None:
    for test in ("tests/a.py::test_one", "tests/b.py::test_two[resnet50]", "tests/c.py::test_three"):
        assert sum(_in_share(test, "1/7", day) for day in range(100, 107)) == 1


def test_what_takes_minutes_runs_more_seldom() -> None:
    days = [_in_share("tests/a.py::test_one", "1/7", day, once_in=4) for day in range(100, 128)]
    assert sum(days) == 1


@pytest.mark.parametrize(("share", "runs"), [("all", True), ("none", False), ("7/7", True)])
def test_whole_shares_do_not_depend_on_the_day(share: str, runs: bool) -> None:
    assert {_in_share("tests/a.py::test_one", share, day) for day in range(7)} == {runs}
