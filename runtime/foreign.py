"""Code that is the user's own: whatever it raises ends in one line that says where."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from runtime.errors import HarnessError


class Foreign(AbstractContextManager[None]):
    """Runs the user's code in its block: an exception of theirs is raised as the error that `tell` makes.

    tell: from what was raised, and where in their file, to the error. Errors of ours pass as they are.
    """

    def __init__(self, tell: Callable[[str], HarnessError]) -> None:
        self._tell = tell

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # NOTE: nobody can list what strangers raise; sys.exit() in a module of theirs is no wish to end ours.
        if isinstance(error, Exception | SystemExit) and not isinstance(error, HarnessError):
            raise self._tell(_described(error)) from error


def _described(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{f': {text}' if text else ''}{_place(error)}"


def _place(error: BaseException) -> str:
    """The deepest line of the file that was run; a SyntaxError tells its own."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__)[1:] if not _imports(Path(frame.filename))
    ]
    if not frames:
        return ""
    last = [frame for frame in frames if frame.filename == frames[0].filename][-1]
    return f" ({last.filename}, line {last.lineno})"


def _imports(file: Path) -> bool:
    """Whether a frame is Python's own import of the user's module."""
    return file.name.startswith("<frozen") or file.parent.name == "importlib"
