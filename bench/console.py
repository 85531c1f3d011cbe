"""What the commands say on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import typer


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print_text(f"{line}\n")


def print_text(text: str) -> None:
    """Write to stdout; a reader that has left is no error."""
    try:
        typer.echo(text, nl=False)
    except BrokenPipeError:
        # Whoever read stdout has seen enough; the interpreter's own last flush must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
