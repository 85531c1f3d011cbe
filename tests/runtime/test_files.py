from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import StoreError
from runtime.files import home, replacing_file, replacing_folder, sha256_of_file


def test_a_digest_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_of_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_is_replaced_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replacing_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_left_as_it_was_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ValueError, match="half"), replacing_file(path):
        raise ValueError("half")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    with replacing_folder(path) as temporary:
        (temporary / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_left_as_it_was_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(ValueError, match="half"), replacing_folder(path):
        raise ValueError("half")
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("replacing", [replacing_file, replacing_folder])
def test_a_place_that_cannot_be_written_is_a_store_error(replacing: object, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "below"
    with pytest.raises(StoreError, match=r"cannot write .*below.*set AIMATRIX_HOME"), replacing(path):  # type: ignore[operator]
        pytest.fail("the block is not entered")


def test_home_is_the_configured_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "here"))
    assert home() == tmp_path / "here"
    monkeypatch.delenv("AIMATRIX_HOME")
    assert home().name == "aimatrix"
