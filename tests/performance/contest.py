"""Programs that do one task in turns, each in a process of its own: time, peak memory, and what came of it.

Whole processes, and "inside": without the interpreter's start and imports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.performance.peers import interpreter
from tests.performance.trials import Row, Trial, command, python

ROUNDS = 3
_LONG_SECONDS = 60  # what takes longer is not repeated: the machine's noise is small beside it
_LONGEST_REASON = 100

_PROGRAM = """
import os, sys, time
os.dup2(2, 1)  # what is printed is read for the reason of a failure
sys.excepthook = lambda kind, error, _: print(f"{{kind.__name__}}:", *str(error).split(), file=sys.stderr)
{imports}
files = sys.argv[1:]
start = time.perf_counter()
{work}
with open(files[-1] + ".seconds", "w") as told: told.write(str(time.perf_counter() - start))
"""


@dataclass(frozen=True)
class Contender:
    """A program that makes the last of `files` of those before it.

    work: what is timed inside.
    peer: in whose environment it runs; "" is our own.
    """

    imports: str
    work: str
    peer: str = ""
    makes_onnx: bool = True


_CHECK = Contender(
    "import onnx, onnxruntime",
    "onnx.checker.check_model(files[0], full_check=True); onnxruntime.InferenceSession(files[0])",
)


@dataclass
class Outcome:
    """What a contender did with one network; `result` is "ok", or what is wrong with it or its file."""

    trials: list[Trial] = field(default_factory=list)
    inside_seconds: list[float] = field(default_factory=list)
    result: str = ""

    def figures(self) -> tuple[float, float, float]:
        """Seconds of the process and inside, medians; and the most GB."""
        seconds = median(trial.seconds for trial in self.trials)
        peak = max(trial.peak_rss_bytes for trial in self.trials)
        return seconds, median(self.inside_seconds), peak / 1e9


def starts(contenders: Mapping[str, Contender], rounds: int) -> list[Row]:
    """What our own take before they do anything."""
    return [_start(name, each, rounds) for name, each in contenders.items() if not each.peer]


def _start(name: str, contender: Contender, rounds: int) -> Row:
    trials = [python(contender.imports) for _ in range(rounds)]
    seconds, _, peak = Outcome(trials, [0.0]).figures()
    return Row(f"{name}: start and imports alone", f"{seconds:.2f} s, {peak:.2f} GB")


def compete(
    contenders: Mapping[str, Contender], files: Sequence[str], out: Path, rounds: int = ROUNDS
) -> dict[str, Outcome]:
    """Let each make `out` of `files`, forwards and backwards in turns."""
    outcomes = {name: Outcome() for name in contenders}
    for turn in range(rounds):
        for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
            done = outcomes[name].trials
            if not turn or (done and done[0].seconds < _LONG_SECONDS):
                _try(contenders[name], files, out, outcomes[name])
    return outcomes


def rows(title: str, outcomes: Mapping[str, Outcome], first: str) -> list[Row]:
    """A row for each outcome; ratios are to that of the contender `first`."""
    return [_row(f"{title}: {name}", outcome, first, outcomes[first]) for name, outcome in outcomes.items()]


def _try(contender: Contender, files: Sequence[str], out: Path, outcome: Outcome) -> None:
    told = Path(f"{out}.seconds")
    try:
        trial = _run(contender, *files, str(out))
        if not (out.exists() and told.exists()):
            raise RuntimeError("it ends well, and writes no file")
    except RuntimeError as error:
        outcome.result = f"fails: {_reason(error)}"
    else:
        outcome.trials.append(trial)
        outcome.inside_seconds.append(float(told.read_text()))
        outcome.result = outcome.result or (_judged(out) if contender.makes_onnx else "ok")
    for path in (out, told):
        path.unlink(missing_ok=True)


def _judged(out: Path) -> str:
    """ONNX's checker and ONNX Runtime, both ours."""
    try:
        _run(_CHECK, str(out))
    except RuntimeError as error:
        return f"file, but not valid ONNX: {_reason(error)}"
    return "ok"


def _run(program: Contender, *files: str) -> Trial:
    """Raises RuntimeError with what the program printed where it fails."""
    code = _PROGRAM.format(imports=program.imports, work=program.work)
    return command([str(interpreter(program.peer)), "-c", code, *files])


def _reason(error: RuntimeError) -> str:
    """The last line that a program printed, cut short."""
    return re.sub(r".* ended with -?\d+: ", "", str(error).strip().splitlines()[-1])[:_LONGEST_REASON]


def _row(what: str, outcome: Outcome, first: str, beside: Outcome) -> Row:
    if not outcome.trials or not beside.trials:
        return Row(what, "", result=outcome.result)
    seconds, inside, peak = outcome.figures()
    its_seconds, its_inside, its_peak = beside.figures()
    figure = f"{seconds:.2f} s, inside {inside:.2f} s, {peak:.2f} GB"
    ratios = f"{first}: inside {inside / its_inside:.2f}, GB {peak / its_peak:.2f}"
    return Row(what, figure, ratios, seconds / its_seconds, outcome.result)
