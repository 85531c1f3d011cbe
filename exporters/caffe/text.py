"""A prototxt's text beside its parser: the line of each layer, the fields that the schema lacks, short lines.

Protocol buffers' own parser says nothing of places once a text is read; this one only walks the names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporters.caffe.schema import schema
from runtime.errors import GraphError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<separator>[;,]+)
      | (?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')
      | (?P<sign>[{}<>\[\]:])
      | (?P<word>[^\s;,{}<>\[\]:"'\#]+)
      | (?P<other>.)""",
    re.VERBOSE,
)
_SKIPPED = frozenset({"blank", "separator"})
_LONGEST_LINE = 160
_LONGEST_TOKEN = 1 << 16

_MOST = 100
"""Unlisted fields that are named one by one; a text of 16 MB can have millions."""

_LAYERS = ("layer", "layers")


@dataclass(frozen=True)
class Outline:
    """The line of each layer, in order; and for each field that the schema lacks a line of text."""

    layer_lines: tuple[int, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class _Name:
    """A field's name in the text: `inside` is the message it stands in, None where that is unknown itself."""

    name: str
    line: int
    depth: int
    inside: Descriptor | None


@dataclass(frozen=True)
class Piece:
    """A line of the text, or a part of a long one; `line` and `column` tell where it begins, from 1."""

    text: str
    line: int
    column: int


def pieces(text: str) -> Iterator[Piece]:
    """The text in lines that are short, broken between tokens where they were not.

    Protocol buffers' parser quotes the whole line with each guess of what a token might be, right or wrong:
    a line of unknown fields takes it the square of its length, 400 kB five minutes.
    Raises GraphError for a token that is longer than any name or value.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) <= _LONGEST_LINE:
            yield Piece(line, number, 1)
        else:
            yield from _broken(line, number)


def _broken(line: str, number: int) -> Iterator[Piece]:
    start = 0
    for match in _TOKEN.finditer(line):
        if match.lastgroup == "blank":
            if match.end() - match.start() > _LONGEST_LINE:  # nothing is lost with it
                yield Piece(line[start : match.start()], number, start + 1)
                start = match.end()
            continue
        if match.end() - match.start() > _LONGEST_TOKEN:
            raise GraphError(
                f"not a prototxt, at line:column {number}:{match.start() + 1} : a word or text of"
                f" {match.end() - match.start()} characters"
            )
        if match.end() - start > _LONGEST_LINE:
            yield Piece(line[start : match.start()], number, start + 1)
            start = match.start()
    yield Piece(line[start:], number, start + 1)


def outline(text: str) -> Outline:
    """Walk a prototxt that protocol buffers can read; of any other text the answer means nothing."""
    lines: list[int] = []
    unknown: list[str] = []
    for field in _names(text):
        if field.depth == 0 and field.name in _LAYERS:
            lines.append(field.line)
        if len(unknown) == _MOST:
            unknown.append("more fields are unknown")
        if (
            len(unknown) < _MOST
            and field.inside is not None
            and field.name not in field.inside.fields_by_name
        ):
            unknown.append(
                f"line {field.line}: {field.inside.name} has no field {field.name!r}, so it is not exported;"
                " check that the network is the same without it"
            )
    return Outline(tuple(lines), tuple(unknown))


def _names(text: str) -> Iterator[_Name]:
    """Every field's name: a word that stands where no value is due."""
    stack: list[Descriptor | None] = [schema().NetParameter.DESCRIPTOR]
    opened: Descriptor | None = None  # the message that the next brace opens
    value_due, in_list = False, False
    for word, line in _tokens(text):
        if word in "{<":
            stack.append(opened)
            value_due = False
        elif word in "}>":
            stack = stack[:-1] or [None]
        elif word in "[]":
            in_list, value_due = word == "[", False
        elif word == ":":
            value_due = True
        elif value_due or in_list or word[0] in "\"'":
            value_due = False
        else:
            yield _Name(word, line, len(stack) - 1, stack[-1])
            known = stack[-1].fields_by_name.get(word) if stack[-1] else None
            opened = known.message_type if known else None


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line, seen = 1, 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup not in _SKIPPED:
            line += text.count("\n", seen, match.start())
            seen = match.start()
            yield match.group(), line
