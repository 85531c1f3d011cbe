"""A worker's death, however it comes, is an error that names it; and what it made stays where it lives."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from runtime import isolation
from runtime.errors import CrashedError, FeedError, HarnessError, TimedOutError, UnavailableError
from runtime.isolation import Remote, Worker, telling
from tests import planted_backends as planted


def _square(value: float) -> float:
    return value * value


def _refuse(what: str) -> None:
    raise FeedError(f"no {what}, please")


def _made_here() -> dict[str, int]:
    return {"process": os.getpid()}


def _process_of(made: dict[str, int]) -> int:
    return made["process"]


def _talkative() -> int:
    sys.stdout.write("to standard output\n")
    os.system("echo from a library")
    return 7


def _temporary_file() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp())


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (planted.abort, r"opening x: its process crashed \(SIGABRT\); its last words: kernel panic: tile 7"),
        (planted.be_killed, r"opening x: its process was killed \(SIGKILL\), as the kernel does"),
        (planted.leave, r"opening x: its process ended with exit code 3$"),
        (planted.raise_something, r"ended with exit code 1; its last words: RuntimeError: vendor error 17"),
    ],
)
def test_a_death_is_named_with_its_last_words(function: object, said: str) -> None:
    with Worker() as worker, pytest.raises(CrashedError, match=said):
        worker.call("opening x", function)  # type: ignore[arg-type]


def test_a_worker_that_has_died_says_so_again() -> None:
    with Worker() as worker:
        for _ in range(2):
            with pytest.raises(CrashedError, match="SIGABRT"):
                worker.call("opening x", planted.abort)


def test_a_hang_ends_with_the_limit_and_the_process_is_gone() -> None:
    began = time.monotonic()
    with Worker(limit_seconds=1.5) as worker:
        with pytest.raises(TimedOutError, match=r"a query: no answer within 1.5 s.*--timeout"):
            worker.call("a query", planted.hang)
        child = worker.process
    assert time.monotonic() - began < 60
    assert not psutil.pid_exists(child)


def test_results_come_back_and_the_next_call_goes_on() -> None:
    with Worker() as worker:
        assert worker.call("squaring", _square, 3.0) == 9.0
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        np.testing.assert_array_equal(worker.call("squaring", _square, array), array * array)


def test_an_expected_error_is_raised_here_and_the_worker_lives_on() -> None:
    with Worker() as worker:
        with pytest.raises(FeedError, match=r"^no shouting, please$"):
            worker.call("asking", _refuse, "shouting")
        assert worker.call("squaring", _square, 2.0) == 4.0


def test_what_a_worker_keeps_stays_there() -> None:
    with Worker() as worker:
        made = worker.keep("making", _made_here)
        assert isinstance(made, Remote)
        process = worker.call("asking", _process_of, made)
    assert process != os.getpid()


def test_what_a_library_prints_does_not_reach_our_output(capfd: pytest.CaptureFixture[str]) -> None:
    with Worker() as worker:
        assert worker.call("talking", _talkative) == 7
    assert capfd.readouterr() == ("", "")


def test_temporary_files_go_with_the_worker_even_if_it_crashes() -> None:
    with Worker() as worker:
        folder = worker.call("writing", _temporary_file)
        assert folder.is_dir()
        with pytest.raises(CrashedError):
            worker.call("crashing", planted.abort)
    assert not folder.exists()


def test_what_no_module_defines_is_refused_before_it_is_sent() -> None:
    with Worker() as worker:
        with pytest.raises(UnavailableError, match=r"calling: not to be sent.*--in-process"):
            worker.call("calling", lambda: 1)
        assert worker.call("squaring", _square, 2.0) == 4.0


def test_a_worker_that_takes_all_memory_is_stopped_before_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.isolation.available_bytes", lambda: 2**20)
    with Worker() as worker, pytest.raises(CrashedError, match=r"stopped at \d+\.\d GiB.*smaller batch"):
        worker.call("a query", planted.hang)


def test_a_worker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os; from runtime.isolation import Worker; from tests.runtime import test_isolation as t\n"
        "if __name__ == '__main__':\n"
        "    worker = Worker(); worker.call('asking', t._made_here); print(worker.process, flush=True)\n"
        "    os._exit(9)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert done.returncode == 9, done.stderr
    child = int(done.stdout)
    for _ in range(100):
        if not psutil.pid_exists(child):
            return
        time.sleep(0.1)
    raise AssertionError(f"{child} lives on")


def test_every_error_of_ours_survives_the_way_home() -> None:
    import pickle

    for kind in HarnessError.__subclasses__():
        again = pickle.loads(pickle.dumps(kind("one line")))
        assert type(again) is kind
        assert str(again) == "one line"


def _long_work(items: int) -> int:
    return sum(telling(range(items), "building", items))


def test_what_takes_long_is_told_while_it_goes_on() -> None:
    told: list[str] = []
    with Worker(listen=told.append) as worker:
        worker.call("making haste", _told_at_once)
        assert worker.call("building", _long_work, 3) == 3
        assert told == ["building: 1 of 3", "building: 2 of 3", "building: 3 of 3"]
        assert worker.call("squaring", _square, 2.0) == 4.0


def test_nobody_has_to_listen() -> None:
    with Worker() as worker:
        worker.call("making haste", _told_at_once)
        assert worker.call("building", _long_work, 3) == 3


def _told_at_once() -> None:
    isolation._TELL_SECONDS = 0.0
