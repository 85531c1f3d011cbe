"""Progress goes to its stream, a line now and then where it is no terminal."""

from __future__ import annotations

import io
import itertools

import pytest

from bench.progress import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock finds two seconds gone."""
    ticks = itertools.count(0.0, 2.0)
    monkeypatch.setattr("bench.progress.time.perf_counter", lambda: next(ticks))


def test_short_work_says_nothing() -> None:
    stream = io.StringIO()
    assert list(Display(stream)(range(5), "counting", 5)) == [0, 1, 2, 3, 4]
    assert stream.getvalue() == ""


@pytest.mark.usefixtures("slow_clock")
def test_long_work_says_how_far_it_is() -> None:
    stream = io.StringIO()
    list(Display(stream)(range(5), "counting", 5))
    assert stream.getvalue().splitlines() == ["counting: 1 of 5", "counting: 4 of 5", "counting: 5 in 12.0 s"]


@pytest.mark.usefixtures("slow_clock")
def test_work_of_unknown_length_is_counted() -> None:
    stream = io.StringIO()
    list(Display(stream)(iter(range(2)), "counting"))
    assert stream.getvalue().splitlines()[0] == "counting: 1"


@pytest.mark.usefixtures("slow_clock")
def test_a_step_says_what_begins_and_how_long_it_took() -> None:
    stream = io.StringIO()
    with Display(stream).step("exporting"):
        stream.write("(export)\n")
    assert stream.getvalue() == "exporting ...\n(export)\nexporting: 2.0 s\n"


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    assert list(Display(stream)(range(3), "counting", 3)) == [0, 1, 2]
    assert "counting" in stream.getvalue()


def test_an_error_is_one_line() -> None:
    stream = io.StringIO()
    Display(stream).error("one\n  two")
    Display(stream).warn("three")
    assert stream.getvalue() == "error: one two\nwarning: three\n"
