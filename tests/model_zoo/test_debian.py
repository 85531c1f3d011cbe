"""Debian's packages read without Debian: one made by dpkg-deb itself, others by hand after ar(5)."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from model_zoo.debian import DebianPackage

CONTROL = "Package: toy\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n"


def tar_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as packed:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def ar_of(members: dict[str, bytes]) -> bytes:
    """ar(5): name 16, time 12, owner 6, group 6, mode 8, size 10, then a backtick and a newline."""
    packed = b"!<arch>\n"
    for name, content in members.items():
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        packed += b"\n" * (len(content) % 2)
    return packed


def written(path: Path, packed: bytes) -> Path:
    path.write_bytes(packed)
    return path


@pytest.mark.parametrize("compression", ["xz", "gzip"])
def test_a_package_that_dpkg_made_is_read(tmp_path: Path, compression: str) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    (tmp_path / "toy/DEBIAN").mkdir(parents=True)
    (tmp_path / "toy/DEBIAN/control").write_text(CONTROL)
    (tmp_path / "toy/usr/share/toy").mkdir(parents=True)
    (tmp_path / "toy/usr/share/toy/a.txt").write_bytes(b"first")
    (tmp_path / "toy/usr/share/toy/link").symlink_to("a.txt")
    command = ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "--build", "toy", "toy.deb"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with DebianPackage(tmp_path / "toy.deb") as package:
        assert package.namelist() == ["usr/share/toy/a.txt"]
        assert package.open("usr/share/toy/a.txt").read() == b"first"


@pytest.mark.parametrize("before", [b"", b"1", b"22"], ids=["empty", "odd", "even"])
def test_members_of_any_length_may_stand_before_the_files(tmp_path: Path, before: bytes) -> None:
    packed = ar_of({"debian-binary": before, "data.tar.xz": tar_of({"./a": b"A", "b/c": b"BC"})})
    with DebianPackage(written(tmp_path / "toy.deb", packed)) as package:
        assert package.namelist() == ["a", "b/c"]
        assert package.open("b/c").read() == b"BC"
        with pytest.raises(KeyError, match="nowhere"):
            package.open("nowhere")


@pytest.mark.parametrize(
    ("packed", "complaint"),
    [
        (b"PK\x03\x04", r"toy\.deb is no ar file"),
        (b"!<arch>\n", r"toy\.deb holds no data\.tar"),
        (ar_of({"debian-binary": b"2.0\n"}), r"toy\.deb holds no data\.tar"),
    ],
    ids=["zip", "empty", "without files"],
)
def test_what_is_no_package_is_refused(tmp_path: Path, packed: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        DebianPackage(written(tmp_path / "toy.deb", packed))


def test_files_that_are_no_tar_are_refused(tmp_path: Path) -> None:
    packed = ar_of({"data.tar.xz": b"no tar at all"})
    with pytest.raises(tarfile.TarError, match="could not be opened"):
        DebianPackage(written(tmp_path / "toy.deb", packed))
