"""Long runs of the fuzz tests: `python -m tests.fuzz texts|networks|binaries [--minutes 10] [--keep DIR]`.

Damaged prototxts, networks drawn by lot and damaged caffemodels are read and converted. Whatever is not
answered by a network or a HarnessError, or takes more than five seconds or two gigabytes, is shown with the
smallest input that does it; `--keep` writes that down, for tests/exporters/caffe/corpus/ once it is mended.
A share of the same runs with the tests (tests/exporters/caffe/test_fuzz.py).
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy
from rich.console import Console

from tests.exporters.caffe.mutations import Files, answer, binaries, networks, texts, with_weights

KINDS: Mapping[str, Callable[[], SearchStrategy[Files]]] = {
    "texts": texts,
    "networks": lambda: networks().map(with_weights),
    "binaries": binaries,
}
_SECONDS = 5
_MEMORY_BYTES = 2 << 30
_ROUND = 500
"""Examples of one round; the clock is looked at in between."""

_SHRINKS = 500
"""Attempts to make an input smaller."""


class SlowError(Exception):
    """Raised by a timer in the middle of what takes too long."""


@dataclass(frozen=True)
class Finding:
    """An error that nobody raised on purpose, and the smallest input that leads to it."""

    error: Exception
    files: Files

    def size(self) -> int:
        """Characters and bytes of the input."""
        return sum(map(len, self.files))

    @property
    def place(self) -> str:
        """Where in our code it came from; two of one place are taken for the same."""
        frames = traceback.extract_tb(self.error.__traceback__)
        ours = [frame for frame in frames if "exporters" in Path(frame.filename).parts[:-1]]
        last = ours[-1] if ours else frames[-1]
        return f"{type(self.error).__name__} at {Path(last.filename).name}:{last.lineno}"


def main(arguments: list[str]) -> int:
    """Run until the time is over; 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.RLIM_INFINITY))
    console = Console(soft_wrap=True, highlight=False, markup=False)
    found: dict[str, Finding] = {}
    rounds, end = 0, time.monotonic() + 60 * chosen.minutes
    while time.monotonic() < end:
        finding = one_round(KINDS[chosen.kind](), chosen.seed + rounds, frozenset(found))
        rounds += 1
        if finding is not None:
            found[finding.place] = finding
            console.print(f"{finding.place}: {finding.error}")
            _keep(finding, chosen.keep, f"{chosen.kind}_{len(found)}")
    console.print(f"{chosen.kind}: {rounds} rounds of {_ROUND}, {len(found)} found")
    return 1 if found else 0


def one_round(files: SearchStrategy[Files], number: int, known: frozenset[str]) -> Finding | None:
    """The first error from a place that is not `known`, with its smallest input."""
    smallest: list[Finding] = []
    shrinks = iter(range(_SHRINKS))

    @seed(number)
    @settings(
        max_examples=_ROUND,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(files)
    def run(drawn: Files) -> None:
        if smallest and next(shrinks, None) is None:
            return  # hypothesis would go on for minutes
        try:
            _answer_in_time(drawn)
        except Exception as error:
            finding = Finding(error, drawn)
            if finding.place in known:
                return
            smallest[:] = sorted([*smallest, finding], key=Finding.size)[:1]
            raise

    try:
        run()
    except Exception:
        if not smallest:
            raise
    return smallest[0] if smallest else None


def _answer_in_time(files: Files) -> None:
    before = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        answer(*files)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_slow(*_: object) -> None:
    raise SlowError(f"no answer in {_SECONDS} s")


def _keep(finding: Finding, folder: Path | None, name: str) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    text, weights = finding.files
    (folder / f"{name}.prototxt").write_text(text, encoding="utf-8", newline="")
    (folder / f"{name}.caffemodel").write_bytes(weights)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
