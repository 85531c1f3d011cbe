"""How far a TensorRT build is, shown and cancelled: Ctrl-C ends it, and nothing of it is kept.

A session builds when it first sees a size, deep inside `bind`; so who listens is told beforehand:

    with showing(display):
        backend.open(...).bind(...)
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

from runtime.progress import Progress, silent

T = TypeVar("T")

_PERCENT = 100
_listener: ContextVar[Progress] = ContextVar("listener", default=silent)


@contextmanager
def showing(progress: Progress) -> Iterator[None]:
    """Builds in this block, and in this thread, tell `progress` how far they are."""
    token = _listener.set(progress)
    try:
        yield
    finally:
        _listener.reset(token)


def listener() -> Progress:
    """Who is told of a build that begins now; nobody, unless `showing` said so."""
    return _listener.get()


def cancellable(work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """What `work` gives, run in another thread, since a signal interrupts none that is in C.

    Ctrl-C calls `cancel`, and is raised as a KeyboardInterrupt when the work has ended.
    """
    interrupts: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        cancel()

    # NOTE: a KeyboardInterrupt in the middle of starting or awaiting the thread would leave it behind
    with _on_interrupt(interrupt), ThreadPoolExecutor(1, "tensorrt-build") as pool:
        result = pool.submit(work)
    if interrupts:
        raise KeyboardInterrupt
    return result.result()


@contextmanager
def _on_interrupt(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Only the main thread is told of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)  # None: one that Python did not set


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Steps:
    """Turns the phases of a build into per cents of its outermost one; called from several threads."""

    def __init__(self, progress: Progress, description: str) -> None:
        self._progress = progress
        self._description = f"{description}, per cent"
        self._lock = threading.RLock()
        self._phases: dict[str, _Phase] = {}
        self._shown = 0
        self._bar: Iterator[int] | None = None
        self.cancelled = False
        self.failure: OSError | None = None

    def cancel(self) -> None:
        """Let the build end at its next step."""
        self.cancelled = True

    def began(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            if not self._phases:
                self._shown = 0
                self._bar = self._progress(range(_PERCENT), self._description, _PERCENT)
            self._phases[name] = _Phase(parent, max(steps, 1))

    def completed(self, name: str, step: int) -> bool:
        """Whether the build should go on."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
                self._show(self._percent())
            return not self.cancelled

    def finished(self, name: str) -> None:
        with self._lock:
            self._phases.pop(name, None)
            if not self._phases and not self.cancelled:
                self._show(_PERCENT + 1)  # one more ends the bar
            if not self._phases:
                self._bar = None

    def _percent(self) -> int:
        outermost = next(iter(self._phases))
        return int(_PERCENT * self._share(outermost))

    def _share(self, name: str) -> float:
        """0 to 1: the steps done, and what is done of the one that its inner phases belong to."""
        phase = self._phases[name]
        inner = max(
            (self._share(each) for each, of in self._phases.items() if of.parent == name), default=0.0
        )
        return min(1.0, (phase.done + inner) / phase.steps)

    def _show(self, percent: int) -> None:
        try:
            while self._bar is not None and self._shown < percent:
                self._shown += 1
                next(self._bar, None)
        except OSError as error:  # nobody reads what is shown; an exception must not reach TensorRT
            self.failure, self.cancelled = error, True


def make_monitor(trt: Any, steps: Steps) -> Any:
    """What TensorRT calls while it builds."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the package ships no types
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            steps.began(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return steps.completed(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            steps.finished(phase_name)

    return Monitor()
