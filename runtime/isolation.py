"""A process of its own for what may crash, hang or take all memory: its end is an answer, not our end.

A runtime that dies takes its process along, and no `except` helps. So a `Worker` runs functions in a
child; what they return comes back, what they make may stay there, and where the child dies, the call
raises and the next worker goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

import psutil

from runtime.errors import CrashedError, HarnessError, TimedOutError, UnavailableError
from runtime.memory import available_bytes

T = TypeVar("T")
R = TypeVar("R")

LIMIT_SECONDS = 1800.0
"""TensorRT builds engines of large networks for tens of minutes; whatever takes longer has hung."""

_LOOK_SECONDS = 0.5
"""Between looks at the worker's memory while it works: 0.02 % of a processor."""

_LEAST_LEFT = 0.02
"""Of the machine's memory: what must stay free, lest the kernel kill whatever process it likes."""

_TAIL_BYTES = 4096
_LAST_WORDS = 300
_GIBIBYTE = 2**30

_TELL_SECONDS = 5.0
"""Between two lines of what takes long."""

_made: dict[int, object] = {}
"""In the worker: what it keeps, by number."""

_to_parent: list[Connection] = []
"""In the worker: where answers go."""


class Remote(Generic[T]):
    """Something that lives in a worker. As an argument of a call to that worker it is the thing itself."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return _found, (self._number,)


@dataclass(frozen=True)
class _Told:
    line: str


def telling(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """A runtime.progress.Progress in a worker: its lines go to whoever listens to that worker."""
    told = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            for connection in _to_parent:
                connection.send(_Told(f"{description}: {done}{f' of {total}' if total else ''}"))


def _found(number: int) -> object:
    return _made[number]


@dataclass(frozen=True)
class _Request:
    function: Callable[..., object]
    arguments: tuple[object, ...]
    keep_as: int | None


class Worker:
    """A child process, started at the first call; a context manager.

    limit_seconds: for one call without an answer, before the child is killed.
    listen: is given a line now and then, of what takes long in the child (`telling`).
    """

    def __init__(
        self, limit_seconds: float = LIMIT_SECONDS, listen: Callable[[str], None] | None = None
    ) -> None:
        self._limit_seconds = limit_seconds
        self._listen = listen
        self._folder = tempfile.TemporaryDirectory(prefix="aimatrix-worker-")
        self._words = Path(self._folder.name) / "words"
        self._kept = 0
        # NOTE: spawned, not forked: threads and locks of a runtime do not survive a fork
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._words), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, doing: str, function: Callable[..., R], *arguments: object) -> R:
        """`function(*arguments)` in the child; both go there by pickle, as does the result back.

        doing: for messages, such as "opening bert.onnx".
        Raises what the function raises of HarnessError, CrashedError and TimedOutError.
        """
        return cast("R", self._ask(doing, _Request(function, arguments, None)))

    def keep(self, doing: str, function: Callable[..., R], *arguments: object) -> Remote[R]:
        """As `call`, but what the function returns stays in the child."""
        self._kept += 1
        self._ask(doing, _Request(function, arguments, self._kept))
        return Remote(self._kept)

    @property
    def process(self) -> int:
        """Its number, as the system has it."""
        return int(self._process.pid or 0)

    def close(self) -> None:
        """End the child: at once where it does not end by itself."""
        self._connection.close()
        self._process.join(_LOOK_SECONDS)
        self._process.kill()
        self._process.join()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, doing: str, request: _Request) -> object:
        try:
            self._connection.send(request)
        except OSError as error:
            raise self._crashed(doing) from error
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UnavailableError(
                f"{doing}: not to be sent to a process of its own ({error}); define it in a module, or run"
                " with --in-process"
            ) from error
        answer = self._answer(doing)
        if isinstance(answer, HarnessError):
            raise answer
        return answer

    def _answer(self, doing: str) -> object:
        end = time.monotonic() + self._limit_seconds
        try:
            while True:
                while not self._connection.poll(_LOOK_SECONDS):
                    if time.monotonic() > end:
                        raise self._timed_out(doing)
                    self._check_memory(doing)
                answer = self._connection.recv()
                if not isinstance(answer, _Told):
                    return answer
                if self._listen is not None:
                    self._listen(answer.line)
        except (EOFError, OSError) as error:
            raise self._crashed(doing) from error

    def _check_memory(self, doing: str) -> None:
        left, total = available_bytes(), psutil.virtual_memory().total
        if left >= _LEAST_LEFT * total:
            return
        with suppress(psutil.Error):
            taken = psutil.Process(self.process).memory_info().rss
            if taken > left:  # else somebody else takes it
                self._process.kill()
                raise CrashedError(
                    f"{doing}: stopped at {taken / _GIBIBYTE:.1f} GiB of memory, when the machine had"
                    f" {left / _GIBIBYTE:.1f} GiB left; use a smaller batch, or look for a leak"
                )

    def _timed_out(self, doing: str) -> TimedOutError:
        self._process.kill()
        return TimedOutError(
            f"{doing}: no answer within {self._limit_seconds:g} s{self._last_words()}; --timeout waits longer"
        )

    def _crashed(self, doing: str) -> CrashedError:
        self._process.join(_LOOK_SECONDS)
        return CrashedError(f"{doing}: its process {_ended(self._process.exitcode)}{self._last_words()}")

    def _last_words(self) -> str:
        """The last line it wrote."""
        lines = _tail(self._words).split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"; its last words: {last[:_LAST_WORDS]}" if last else ""


def _ended(code: int | None) -> str:
    if code is None:
        return "answers no more"
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL), as the kernel does where memory runs out"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _serve(connection: Connection, words: Path) -> None:
    """The child: answer until nobody asks any more. What libraries print goes to the last words."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the parent decides
    tempfile.tempdir = str(words.parent)  # so that nothing stays behind where it crashes
    with words.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _to_parent.append(connection)
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_done(request))


def _done(request: _Request) -> object:
    try:
        result = request.function(*request.arguments)
    except HarnessError as error:
        return error
    if request.keep_as is None:
        return result
    _made[request.keep_as] = result
    return None
