"""Run one contender in a process of its own, and tell what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Trial:
    """One process from start to end: wall time, and the most memory it held at once."""

    seconds: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table: what was measured, the figure, beside what it stands, the outcome."""

    what: str
    figure: str
    beside: str = ""
    ratio: float | None = None
    result: str = ""


def python(code: str, *arguments: str) -> Trial:
    """Run `code` in a fresh interpreter; its sys.argv[1:] are `arguments`."""
    return command([sys.executable, "-c", code, *arguments])


def command(arguments: Sequence[str]) -> Trial:
    """Run a command, which must end well; os.wait4 tells the memory of this child alone."""
    start = time.perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        errors = child.stderr.read() if child.stderr else ""
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(arguments)[:200]} ended with {child.returncode}: {errors[-2000:]}")
    return Trial(time.perf_counter() - start, usage.ru_maxrss * 1024)


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of each contender's figure, taken in turns, so that noise of the machine falls on all alike."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        names = list(contenders)[:: 1 if turn % 2 == 0 else -1]
        for name in names:
            figures[name].append(contenders[name]())
    return {name: median(values) for name, values in figures.items()}
