"""Plans and timings that were built before, under the store's `plans`; each entry is sealed.

An entry is a folder named after the digest of all that decided it. Beside its files lies `seal.json`: that
key in full and each file's SHA-256. What does not agree with its seal is as good as not there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime import files
from runtime.errors import StoreError
from runtime.trt_options import BuildSettings
from runtime.trt_profile import Profile

PLAN, LAYERS, TIMINGS = "plan", "layers.json", "timings"
"""Files of entries: a serialised engine with what the engine inspector tells of it; a timing cache."""

_SEAL = "seal.json"
_LOCK_SECONDS = 4 * 3600
"""As long as a build at the highest optimisation level may take."""

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """What plan and timings are good for: TensorRT promises nothing on another GPU, driver or version.

    library: name and version.     gpu: its name.     capability: compute capability.
    """

    library: str
    gpu: str
    capability: str
    driver: str


@dataclass(frozen=True)
class PlanKey:
    """All that decides a plan. graph: SHA-256 of the file, its external data included."""

    graph: str
    profile: Profile
    settings: BuildSettings
    target: Target

    def facts(self) -> Facts:
        """As JSON has them; two keys have the same facts only if they are equal."""
        return _as_json({"plan": asdict(self)})


@dataclass(frozen=True)
class TimingKey:
    """All that decides timings of kernels."""

    target: Target

    def facts(self) -> Facts:
        return _as_json({"timings": asdict(self)})


def entry_folder(facts: Facts) -> Path:
    """Where the entry of a key is, or will be."""
    return files.home() / "plans" / hashlib.sha256(_canonical(facts)).hexdigest()


def read_entry(facts: Facts) -> dict[str, bytes] | None:
    """An entry's files by name; None where there is none, or it is damaged or another key's."""
    folder = entry_folder(facts)
    try:
        seal = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        if seal["key"] != facts:
            return None
        contents = {name: (folder / name).read_bytes() for name in seal["files"]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    sound = all(_digest(content) == seal["files"][name] for name, content in contents.items())
    return contents if sound else None


def write_entry(facts: Facts, contents: Mapping[str, bytes]) -> None:
    """Replace an entry as a whole; the caller has it locked. Raises StoreError."""
    seal = {"key": facts, "files": {name: _digest(content) for name, content in contents.items()}}
    place = entry_folder(facts)
    for leftover in place.parent.glob(f".{place.name}.*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with files.replacing_folder(place) as folder:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        (folder / _SEAL).write_text(json.dumps(seal, indent=1), encoding="utf-8")


@contextmanager
def locked_entry(facts: Facts) -> Iterator[None]:
    """Alone with an entry, in all processes that share the store; raises StoreError."""
    import filelock

    folder = entry_folder(facts)
    lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"), timeout=_LOCK_SECONDS)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:  # filelock's Timeout is one
        raise StoreError(
            f"cannot lock {lock.lock_file}: {error.strerror or error}; set AIMATRIX_HOME to a folder that can"
            " be written, or end the process that holds the lock"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _as_json(facts: Mapping[str, Any]) -> Facts:
    return dict(json.loads(_canonical(facts)))


def _canonical(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
