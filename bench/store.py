"""The store: exported graphs, kept by a key over everything that changes their bytes.

    <home>/graphs/<model>[-<variant>]/<framework>/<key>/fp32.onnx ... manifest.json

A graph counts as present when the manifest names it and its bytes still have the digest written
there. Files are built in a temporary folder and moved in, the manifest last, so that a killed
export leaves nothing that counts. One process builds at a time; others wait for it.
Knows nothing of how a graph is built.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.manifest import MANIFEST, GraphEntry, Manifest, read_manifest, write_manifest
from runtime.errors import StoreError
from runtime.files import sha256_of_file

_BUILDING = ".building-"


class Notices(Protocol):
    """Who is told what the user should know; bench.progress has one for stderr."""

    def note(self, line: str) -> None: ...

    def warn(self, line: str) -> None: ...


@dataclass(frozen=True)
class Identity:
    """What an entry is called, and everything that changes the bytes of its FP32 graph."""

    model: str
    variant: str
    framework: str
    facts: Mapping[str, str]

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits over the facts."""
        return digest_of(self.facts)[:16]

    @property
    def folder(self) -> Path:
        name = f"{self.model}-{self.variant}" if self.variant else self.model
        return Path("graphs") / name / self.framework / self.key


@dataclass(frozen=True)
class StoredGraph:
    """A verified graph file and what the manifest says of it."""

    path: Path
    entry: GraphEntry


Build = Callable[[Path], GraphEntry]
"""Writes a graph at the given path (data files beside it) and tells its facts; `files` is filled in here."""


class Entry:
    """One folder of the store."""

    def __init__(self, root: Path, identity: Identity, notices: Notices) -> None:
        self.folder = root / identity.folder
        self._identity = identity
        self._notices = notices

    def ensure(self, name: str, build: Build, parent_sha256: str | None = None) -> StoredGraph:
        """The graph called `name`, built first where it is missing, damaged or of another parent.

        Raises StoreError where the store cannot be read or written, and what `build` raises.
        """
        found = self._find(name, parent_sha256)
        if found is not None:
            return found
        with _as_store_error(self.folder), self._locked():
            self._clean()
            return self._find(name, parent_sha256, "rebuilding it") or self._build(name, build)

    def present(self, name: str, parent_sha256: str | None) -> StoredGraph | None:
        """The sound graph called `name` of that parent, if there is one."""
        return self._find(name, parent_sha256)

    def put(self, name: str, build: Build) -> StoredGraph:
        """Build the graph called `name`, whatever is there; it is the newest then. Raises as `ensure`."""
        with _as_store_error(self.folder), self._locked():
            self._clean()
            return self._build(name, build)

    def newest(self, precision: str, parent_sha256: str) -> StoredGraph | None:
        """The sound graph of that precision and parent that was written last; a damaged one is told of."""
        manifest = read_manifest(self.folder / MANIFEST)
        entries = manifest.graphs.items() if manifest else ()
        for name in reversed([name for name, entry in entries if entry.precision == precision]):
            found = self._find(name, parent_sha256, "it is not used")
            if found is not None:
                return found
        return None

    def _find(self, name: str, parent_sha256: str | None, remedy: str = "") -> StoredGraph | None:
        """`remedy`: what is done about a damaged one; unless given nobody is told."""
        manifest = read_manifest(self.folder / MANIFEST)
        if remedy and manifest is None and (self.folder / MANIFEST).exists():
            self._notices.warn(f"{self.folder / MANIFEST} is no manifest of this version; building anew")
        entry = manifest.graphs.get(name) if manifest else None
        if entry is None or entry.parent_sha256 != parent_sha256:
            return None
        damaged = [
            file for file, digest in entry.files.items() if not _has_digest(self.folder / file, digest)
        ]
        if damaged and remedy:
            self._notices.warn(
                f"{self.folder / damaged[0]} is not what was stored (digest differs); {remedy}"
            )
        return None if damaged else StoredGraph(self.folder / f"{name}.onnx", entry)

    def _build(self, name: str, build: Build) -> StoredGraph:
        temporary = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=self.folder))
        try:
            facts = build(temporary / f"{name}.onnx")
            files = {path.name: sha256_of_file(path) for path in sorted(temporary.iterdir())}
            for file in files:
                (temporary / file).replace(self.folder / file)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        entry = facts.model_copy(update={"files": files})
        write_manifest(self.folder / MANIFEST, self._manifest().with_graph(name, entry))
        return StoredGraph(self.folder / f"{name}.onnx", entry)

    def _manifest(self) -> Manifest:
        return read_manifest(self.folder / MANIFEST) or Manifest(
            model=self._identity.model,
            variant=self._identity.variant,
            framework=self._identity.framework,
            identity=dict(self._identity.facts),
            graphs={},
        )

    def _clean(self) -> None:
        """Remove what killed builds left; nobody else builds here while the lock is held."""
        for left in self.folder.glob(f"{_BUILDING}*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        import filelock

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            self._notices.note(f"waiting for another process that is building {self.folder.name}")
            lock.acquire()
        try:
            self.folder.mkdir(exist_ok=True)
            yield
        finally:
            with suppress(OSError):  # it is empty where nothing has ever been built well
                self.folder.rmdir()
            lock.release()


def digest_of(facts: Mapping[str, str]) -> str:
    """SHA-256 over facts, whatever their order."""
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()


def _has_digest(path: Path, digest: str) -> bool:
    try:
        return sha256_of_file(path) == digest
    except OSError:
        return False


@contextmanager
def _as_store_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write the store at {folder}: {error.strerror or error}{_named(error)}; free the disk,"
            " or set AIMATRIX_HOME to a folder that can be written"
        ) from error


def _named(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""
