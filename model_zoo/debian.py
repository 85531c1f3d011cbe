"""Packages of Debian as archives of data: fetched with apt-get, opened with the standard library alone.

A .deb is an `ar` file of three members, the last of which is a tar of the package's files (deb(5)).
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import TracebackType
from typing import IO

SUFFIX = ".deb"

_MAGIC = b"!<arch>\n"
_HEADER = 60
_NAME, _SIZE = slice(0, 16), slice(48, 58)
_FILES = "data.tar"


def download_command(requirement: str) -> list[str]:
    """What saves `package=version` into the current folder, from the sources that the machine knows."""
    return ["apt-get", "download", "--quiet", requirement]


class DebianPackage:
    """The files of a .deb, read as those of a zipfile.ZipFile are; a context manager.

    Raises ValueError for a file that is no .deb, tarfile.TarError for one whose files cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._files = tarfile.open(fileobj=io.BytesIO(_member(path.read_bytes(), path.name)))  # noqa: SIM115

    def __enter__(self) -> DebianPackage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._files.close()

    def namelist(self) -> list[str]:
        """Paths of the regular files, without the "./" in front."""
        return [member.name.removeprefix("./") for member in self._files if member.isfile()]

    def open(self, name: str) -> IO[bytes]:
        """A file's bytes; raises KeyError for a name that is not in `namelist`."""
        for member in self._files:
            if member.isfile() and member.name.removeprefix("./") == name:
                stream = self._files.extractfile(member)
                if stream is not None:
                    return stream
        raise KeyError(name)


def _member(packed: bytes, name: str) -> bytes:
    """The member that holds the package's files."""
    if not packed.startswith(_MAGIC):
        raise ValueError(f"{name} is no ar file")
    start = len(_MAGIC)
    while start + _HEADER <= len(packed):
        header = packed[start : start + _HEADER]
        size = int(header[_SIZE])
        start += _HEADER
        if header[_NAME].decode("ascii", "replace").startswith(_FILES):
            return packed[start : start + size]
        start += size + size % 2  # members begin at even places
    raise ValueError(f"{name} holds no {_FILES}")
