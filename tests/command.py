"""The command line in a process of its own, for what needs one: signals, limits, a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE = Path(__file__).resolve().parent.parent
QUICK = ("--duration", "0.1", "--evaluation-samples", "4", "--calibration-samples", "4")

PROGRAM = (
    # what is started in the background of a shell, as tests may be, has Ctrl-C ignored
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    " from bench.cli import main; raise SystemExit(main())"
)


@contextmanager
def start(*arguments: object, home: Path, program: str = PROGRAM) -> Iterator[subprocess.Popen[str]]:
    """`bench ARGUMENTS` with its store at `home`; killed where the test fails, and waited for at the end.

    What must happen first in the new process is part of `program`: `preexec_fn` forks, and the locks of a
    runtime's threads in the process that runs the tests would be held in the child for ever.
    """
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=CLONE,
        env={**os.environ, "AIMATRIX_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()  # or one that was stopped, or waits for another, would be waited for without end
            raise


def bench(*arguments: object, home: Path, program: str = PROGRAM) -> tuple[int, str, str]:
    """Run it to its end: exit code, standard output, standard error."""
    with start(*arguments, home=home, program=program) as process:
        out, error = process.communicate()
    return process.returncode, out, error


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read standard error up to a line that holds `text`; what was read."""
    assert process.stderr is not None
    read = ""
    for line in process.stderr:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} never came: {read}")
