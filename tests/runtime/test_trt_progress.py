"""The progress of a build: what is shown of its phases, and how it is cancelled."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import TypeVar

import pytest

from runtime.progress import silent
from runtime.trt_progress import Steps, cancellable, listener, make_monitor, showing

T = TypeVar("T")


def broken(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """A Progress whose reader has gone."""
    raise BrokenPipeError(32, "Broken pipe")
    yield from items


class Listener:
    """A Progress that keeps how far each piece of work came."""

    def __init__(self) -> None:
        self.described: list[str] = []
        self.done: list[int] = []
        self.ended: list[bool] = []

    def __call__(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        assert total == 100
        self.described.append(description)
        self.done.append(0)
        self.ended.append(False)
        for item in items:
            self.done[-1] += 1
            yield item
        self.ended[-1] = True


def test_nested_phases_are_parts_of_the_step_they_belong_to() -> None:
    """Of 2 steps one is done, and of 4 inner ones of the second, 3: (1 + 3/4) / 2 = 87.5 %."""
    shown = Listener()
    steps = Steps(shown, "building")
    steps.began("outer", None, 2)
    assert shown.done == []  # a bar begins with its first item
    assert steps.completed("outer", 0)
    assert shown.done == [50]
    steps.began("inner", "outer", 4)
    for step in range(3):
        assert steps.completed("inner", step)
    assert shown.done == [87]
    steps.finished("inner")
    steps.finished("outer")
    assert (shown.done, shown.ended, shown.described) == ([100], [True], ["building, per cent"])


def test_phases_one_after_the_other_have_a_bar_each() -> None:
    shown = Listener()
    steps = Steps(shown, "building")
    for name in ("first", "second"):
        steps.began(name, None, 1)
        steps.completed(name, 0)
        steps.finished(name)
    assert (shown.done, shown.ended) == ([100, 100], [True, True])


def test_a_step_of_a_phase_that_nobody_began_is_none() -> None:
    assert Steps(silent, "building").completed("unknown", 7)


def test_a_cancelled_build_is_not_shown_as_done() -> None:
    shown = Listener()
    steps = Steps(shown, "building")
    steps.began("outer", None, 4)
    assert steps.completed("outer", 0)
    steps.cancel()
    assert not steps.completed("outer", 1)
    steps.finished("outer")
    assert shown.ended == [False]
    assert shown.done == [50]


def test_a_listener_that_is_gone_ends_the_build_and_not_the_process() -> None:
    steps = Steps(broken, "building")
    steps.began("outer", None, 2)
    assert not steps.completed("outer", 0)
    assert isinstance(steps.failure, BrokenPipeError)
    steps.finished("outer")


def test_steps_of_several_threads_are_all_counted() -> None:
    shown = Listener()
    steps = Steps(shown, "building")
    steps.began("outer", None, 8)
    threads = [
        threading.Thread(target=lambda name=f"inner {number}": _phase(steps, name)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steps.finished("outer")
    assert shown.done == [100]


def _phase(steps: Steps, name: str) -> None:
    steps.began(name, "outer", 50)
    for step in range(50):
        steps.completed(name, step)
    steps.finished(name)


def test_the_monitor_hands_on_what_tensorrt_says() -> None:
    trt = SimpleNamespace(IProgressMonitor=type("IProgressMonitor", (), {}))
    shown = Listener()
    steps = Steps(shown, "building")
    monitor = make_monitor(trt, steps)
    monitor.phase_start("outer", None, 2)
    assert monitor.step_complete("outer", 0)
    steps.cancel()
    assert not monitor.step_complete("outer", 1)
    monitor.phase_finish("outer")
    assert shown.done == [100]


def test_who_listens_is_said_for_a_while() -> None:
    assert listener() is silent
    shown = Listener()
    with showing(shown):
        assert listener() == shown
    assert listener() is silent


def test_what_bench_shows_is_one_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.progress import Display

    clock = iter(range(0, 10_000, 2))
    monkeypatch.setattr("bench.progress.time.perf_counter", lambda: float(next(clock)))
    stream = io.StringIO()
    steps = Steps(Display(stream), "building m.onnx with tensorrt 11.4.0")
    steps.began("outer", None, 20)
    for step in range(20):
        steps.completed("outer", step)
    steps.finished("outer")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "building m.onnx with tensorrt 11.4.0, per cent: 1 of 100"
    assert lines[-1].startswith("building m.onnx with tensorrt 11.4.0, per cent: 100 in ")


def test_what_the_work_gives_and_raises_comes_back() -> None:
    assert cancellable(lambda: 7, lambda: pytest.fail("was cancelled")) == 7
    with pytest.raises(ZeroDivisionError):
        cancellable(lambda: 1 // 0, lambda: pytest.fail("was cancelled"))


def test_an_interrupt_cancels_waits_and_is_raised() -> None:
    """SIGINT, as the terminal sends it, while the work is in another thread."""
    cancelled, ended = threading.Event(), threading.Event()

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert cancelled.wait(60)
        time.sleep(0.01)
        ended.set()

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        cancellable(work, cancelled.set)
    assert ended.is_set()
    assert signal.getsignal(signal.SIGINT) == before


def test_another_thread_than_the_main_one_may_build() -> None:
    given: list[int] = []
    thread = threading.Thread(target=lambda: given.append(cancellable(lambda: 7, lambda: None)))
    thread.start()
    thread.join()
    assert given == [7]
