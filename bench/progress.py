"""Progress, notes and warnings on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

T = TypeVar("T")

QUIET_SECONDS = 1.0
"""Shorter work says nothing."""

LINE_SECONDS = 5.0
"""Time between two plain lines of the same work."""


class Display:
    """A runtime.progress.Progress that also takes notes and warnings; writes to stderr only."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()

    def __call__(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        if self._live:
            yield from self._bar(items, description, total)
        else:
            yield from self._lines(items, description, total)

    def note(self, line: str) -> None:
        """One line of what is going on."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def warn(self, line: str) -> None:
        """One line of what the user should know."""
        self.note(f"warning: {line}")

    def error(self, line: str) -> None:
        """One line of what failed; a message of several lines is folded."""
        self.note(f"error: {' '.join(line.split())}")

    @contextmanager
    def step(self, description: str) -> Iterator[None]:
        """Work of unknown length: says what begins, and how long it took if that was long.

        No spinner: its thread would disturb what is being measured.
        """
        self.note(f"{description} ...")
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        if seconds >= QUIET_SECONDS:
            self.note(f"{description}: {seconds:.1f} s")

    def _lines(self, items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
        began = told = time.perf_counter()
        done = 0
        for done, item in enumerate(items, start=1):
            yield item
            now = time.perf_counter()
            if now - told >= (QUIET_SECONDS if told == began else LINE_SECONDS):
                told = now
                self.note(f"{description}: {done}{f' of {total}' if total else ''}")
        if told != began:
            self.note(f"{description}: {done} in {time.perf_counter() - began:.1f} s")

    def _bar(self, items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(file=self._stream), transient=True) as progress:
            yield from progress.track(items, total=total, description=description)
