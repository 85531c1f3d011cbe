"""Torch's files with damage by lot: tensors, or one line."""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_zoo.torch_files import read_torch
from runtime.errors import UsageError
from runtime.tensors import Array
from tests.model_zoo.test_torch_files import BIAS, NAMED, STORED
from tests.model_zoo.torch_archives import View, records, state_dict, write

share = settings(max_examples=300, derandomize=True, database=None, deadline=None)

GOOD = records(
    state_dict({**NAMED, "half": BIAS.astype(np.float16), "view": View(STORED, 1, (2, 2), (4, 1))})
)
PROGRAM = GOOD["archive/data.pkl"]
OPERATIONS = sorted(ord(operation.code) for operation in pickletools.opcodes)


def answer(path: Path) -> None:
    """Read it; whatever is not a line of ours fails the test."""
    tensors: Mapping[str, Array] = {}
    message = ""
    try:
        tensors = read_torch(path)
    except UsageError as error:
        message = str(error)
    assert "\n" not in message
    for array in tensors.values():
        assert array.nbytes <= path.stat().st_size
        array.sum()


def damaged(content: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """`content` with pieces cut out and others put in, each at a place of its own."""
    for place, length, piece in changes:
        at = place % (len(content) + 1)
        content = content[:at] + piece + content[at + length :]
    return content


def changes(piece: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[tuple[int, int, bytes]]]:
    return st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 8), piece), min_size=1, max_size=4)


PIECES = st.binary(max_size=4) | st.sampled_from([bytes([code]) for code in OPERATIONS])


@share
@given(changes(PIECES))
def test_a_damaged_program_ends_in_tensors_or_a_line(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "program.pth"
    answer(write(path, {**GOOD, "archive/data.pkl": damaged(PROGRAM, drawn)}))


@share
@given(changes(st.binary(max_size=4)))
def test_a_damaged_file_ends_in_tensors_or_a_line(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "file.pth"
    path.write_bytes(damaged(write(path, GOOD).read_bytes(), drawn))
    answer(path)
