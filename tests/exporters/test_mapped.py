"""Files as memory: what they hold, and that letting go of them loses nothing."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from exporters.mapped import let_go, map_file
from runtime.tensors import Array


def resident(mapped: memoryview) -> int:
    """Bytes of the mapping that this process has in memory, as Linux tells it."""
    address = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    lines = Path("/proc/self/smaps").read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"{address:x}-"))
    found = next(line for line in lines[start:] if line.startswith("Rss:"))
    return int(found.split()[1]) * 1024


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.arange(1 << 20, dtype="<f4").tofile(tmp_path / "file")
    return tmp_path / "file"


def test_a_mapped_file_holds_the_files_bytes_and_cannot_be_changed(file: Path) -> None:
    mapped = map_file(file)
    assert bytes(mapped) == file.read_bytes()
    assert mapped.readonly


def test_an_empty_file_is_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert bytes(map_file(tmp_path / "empty")) == b""


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        map_file(tmp_path / "none")


@pytest.mark.parametrize("view", ["whole", "strided", "reshaped"])
def test_what_was_looked_at_is_given_back_and_can_be_looked_at_again(file: Path, view: str) -> None:
    if not Path("/proc/self/smaps").exists():
        pytest.skip("only Linux tells what part of a mapping is in memory")
    mapped = map_file(file)
    array: Array = np.frombuffer(mapped, "<f4")
    if view == "strided":
        array = np.ndarray((1 << 19,), "<f4", mapped, 0, (8,))
    elif view == "reshaped":
        array = array.reshape(2, -1).T[5:]
    total = array.sum(dtype=np.float64)
    assert resident(mapped) > 1 << 20
    let_go(array)
    assert resident(mapped) == 0
    assert array.sum(dtype=np.float64) == total


def test_what_is_no_file_keeps_its_values(file: Path) -> None:
    """Giving back memory that can be written would lose what was written."""
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY) as private:
        changed: Array = np.frombuffer(private, "<f4")
        changed[:] = 7
        let_go(changed)
        assert (changed == 7).all()
        del changed
    own = np.ones(1 << 20, np.float32)
    let_go(own)
    assert (own == 1).all()
