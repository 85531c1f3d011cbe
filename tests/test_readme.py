"""What the README tells people to type is what the command line and the Makefile understand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.cli import app

_ROOT = Path(__file__).resolve().parent.parent
_TYPED = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", (_ROOT / "README.md").read_text(), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
_BENCH = sorted({line for line in _TYPED if line.startswith("bench ")})
_MAKE = sorted({line.split()[1] for line in _TYPED if line.startswith("make ")})


def test_the_readme_shows_the_main_commands() -> None:
    assert len(_BENCH) > 5
    assert {"bench", "test"} <= set(_MAKE)


@pytest.mark.parametrize("line", _BENCH)
def test_a_bench_line_of_the_readme_is_understood(line: str) -> None:
    _parse(typer.main.get_command(app), shlex.split(line))


@pytest.mark.parametrize("target", _MAKE)
def test_a_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (_ROOT / "Makefile").read_text(), re.MULTILINE)


def test_an_unknown_flag_would_be_noticed() -> None:
    with pytest.raises(Exception, match="--no-such-flag"):
        _parse(typer.main.get_command(app), ["bench", "ort", "--no-such-flag"])


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (_ROOT / "README.md").read_text())
    assert links
    assert not [link for link in links if not (_ROOT / link).exists()]


def _parse(command: Any, words: list[str], parent: Any = None) -> None:
    context = command.make_context(words[0], words[1:], parent=parent)
    rest = context._protected_args + context.args
    if hasattr(command, "resolve_command") and rest:
        name, subcommand, arguments = command.resolve_command(context, rest)
        _parse(subcommand, [name, *arguments], context)
