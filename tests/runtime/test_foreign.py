"""The user's own code: its exceptions become ours, ours stay, and an interruption interrupts."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from runtime.errors import FeedError, UsageError
from runtime.foreign import Foreign


def _module(folder: Path, text: str) -> ModuleType:
    module = ModuleType("theirs")
    path = folder / "theirs.py"
    path.write_text(text)
    exec(compile(text, str(path), "exec"), vars(module))
    return module


def test_what_they_raise_is_told_with_the_deepest_line_of_their_file(tmp_path: Path) -> None:
    theirs = _module(tmp_path, "import json\ndef f():\n  g()\ndef g():\n  json.loads('{')\n")
    with (
        pytest.raises(UsageError, match=r"^no: JSONDecodeError: .* \(.*theirs\.py, line 5\)$"),
        Foreign(lambda reason: UsageError(f"no: {reason}")),
    ):
        theirs.f()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), FeedError("ours")], ids=["interrupted", "ours"])
def test_what_is_not_theirs_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, Foreign(UsageError):
        raise error
    assert caught.value is error


def test_code_without_lines_has_no_place() -> None:
    with pytest.raises(UsageError, match=r"^ValueError: invalid literal for int.*'a'$"), Foreign(UsageError):
        int("a")
