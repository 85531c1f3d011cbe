"""What every test shares: where files are kept, and which of the heavy tests run."""

from __future__ import annotations

import os
import zlib
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

_CLONE = Path(__file__).resolve().parent.parent
os.environ.setdefault("AIMATRIX_HOME", str(_CLONE / ".aimatrix"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--heavy-share",
        default="none",
        help="heavy tests to run: none, all, or a share such as 1/7 that changes from day to day",
    )


_died: set[str] = set()


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:
    """A test whose process died or hung runs once more, and the summary tells; twice is a failure.

    Whole runtimes run in the processes that test, and one in thousands of runs ends in them.
    """
    if crashitem not in _died:
        _died.add(crashitem)
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for test in sorted(_died):
        terminalreporter.write_line(f"its process died or hung, and it was run once more: {test}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the heavy tests that are not in today's share; one named on the command line runs."""
    share = config.getoption("--heavy-share")
    named = [argument for argument in config.args if "::" in argument]
    today = datetime.now(UTC).toordinal()
    left_out = [
        item
        for item in items
        if (marker := item.get_closest_marker("heavy"))
        and not _in_share(item.nodeid, share, today, marker.kwargs.get("once_in", 1))
        and not any(item.nodeid.startswith(name) for name in named)
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _in_share(test: str, share: str, day: int, once_in: int = 1) -> bool:
    """Each test has a fixed slot; the day says which slots run, so that all run in turn.

    once_in: of the days that the share would have it run, as for those that take minutes.
    """
    if share in ("none", "all"):
        return share == "all"
    fraction = Fraction(share) / once_in
    slot = zlib.crc32(test.encode()) % fraction.denominator
    return (slot - day) % fraction.denominator < fraction.numerator
