"""A test whose process dies or hangs: the others go on, it has a second try, and both are told."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.command import CLONE

ENDS = {"dies": "os._exit(1)", "hangs": "threading.Event().wait()"}


def _run(folder: Path, end: str, times: int) -> tuple[int, str]:
    """Exit code and output of two tests, one of which ends its process as often as `times`."""
    (folder / "test_it.py").write_text(
        textwrap.dedent(f"""
        import os, pathlib, threading
        def test_one():
            ends = pathlib.Path({str(folder / "ends")!r})
            ends.open("a").write(".")
            if len(ends.read_text()) <= {times}:
                {end}
        def test_other():
            pass
        """)
    )
    limit = ("-o", "faulthandler_timeout=1", "-o", "faulthandler_exit_on_timeout=true")
    flags = ("-n", "1", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", str(folder), *limit)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, str(folder)],
        cwd=CLONE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("end", ENDS)
def test_it_has_a_second_try_and_the_summary_tells(end: str, tmp_path: Path) -> None:
    code, told = _run(tmp_path, ENDS[end], 1)
    assert code == 0, told
    assert "its process died or hung, and it was run once more: test_it.py::test_one" in told
    assert "2 passed, 1 rerun" in told
    if end == "hangs":
        assert 'test_it.py", line 7 in test_one' in told  # where it hung


def test_twice_is_a_failure(tmp_path: Path) -> None:
    code, told = _run(tmp_path, ENDS["dies"], 2)
    assert code == 1
    assert "crashed while running 'test_it.py::test_one'" in told
    assert "1 failed, 1 passed, 1 rerun" in told
