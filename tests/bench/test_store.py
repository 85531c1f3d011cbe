"""The store stays good: killed, two at once, damaged, full, read-only."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.manifest import MANIFEST, GraphEntry, read_manifest
from bench.store import Entry, Identity
from runtime.errors import StoreError

CLONE = Path(__file__).resolve().parents[2]
IDENTITY = Identity("tiny", "", "tensorflow", {"source": "abc", "weights": "seeded"})


class Told:
    """Notices, remembered."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def warn(self, line: str) -> None:
        self.warnings.append(line)


def facts(precision: str = "fp32", parent: str | None = None) -> GraphEntry:
    return GraphEntry(
        precision=precision,
        sha256="0" * 64,
        parent_sha256=parent,
        opset=22,
        macs=1,
        parameters=1,
        inputs=(),
        outputs=(),
        calibration=None,
        build_seconds=0.0,
        provenance={},
    )


class Builder:
    """Writes `content` (and a data file beside it) and counts how often."""

    def __init__(self, content: bytes = b"graph", parent: str | None = None) -> None:
        self.calls = 0
        self._content = content
        self._parent = parent

    def __call__(self, out: Path) -> GraphEntry:
        self.calls += 1
        out.write_bytes(self._content)
        out.with_name(f"{out.name}.data").write_bytes(b"weights")
        return facts(parent=self._parent)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def entry(tmp_path: Path, told: Told) -> Entry:
    return Entry(tmp_path, IDENTITY, told)


def test_a_graph_is_built_once(entry: Entry) -> None:
    build = Builder()
    first, second = entry.ensure("fp32", build), entry.ensure("fp32", build)
    assert build.calls == 1
    assert first == second
    assert first.path.read_bytes() == b"graph"
    assert set(first.entry.files) == {"fp32.onnx", "fp32.onnx.data"}


def test_an_entry_lies_where_the_design_says(tmp_path: Path, told: Told) -> None:
    variant = Identity("bert", "minilm", "tensorflow", {"source": "abc"})
    folder = Entry(tmp_path, variant, told).folder
    assert folder == tmp_path / "graphs" / "bert-minilm" / "tensorflow" / variant.key


@pytest.mark.parametrize("change", [{"source": "abd"}, {"weights": "1234"}, {"tool onnx": "1.20"}])
def test_every_fact_changes_the_key(change: dict[str, str]) -> None:
    other = Identity("tiny", "", "tensorflow", {**IDENTITY.facts, **change})
    assert other.key != IDENTITY.key


def test_the_order_of_the_facts_does_not_change_the_key() -> None:
    turned = dict(reversed(list(IDENTITY.facts.items())))
    assert Identity("tiny", "", "tensorflow", turned).key == IDENTITY.key


@pytest.mark.parametrize("file", ["fp32.onnx", "fp32.onnx.data"])
@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b"grapf"), Path.unlink], ids=["flipped", "gone"]
)
def test_a_damaged_file_is_noticed_and_rebuilt(
    entry: Entry, told: Told, file: str, damage: Callable[[Path], object]
) -> None:
    build = Builder()
    damage(entry.ensure("fp32", build).path.with_name(file))
    rebuilt = entry.ensure("fp32", build)
    assert build.calls == 2
    assert rebuilt.path.read_bytes() == b"graph"
    assert len(told.warnings) == 1
    assert f"{file} is not what was stored (digest differs); rebuilding it" in told.warnings[0]


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 99}'], ids=["empty", "cut off", "newer"])
def test_a_damaged_manifest_means_building_again(entry: Entry, text: str) -> None:
    build = Builder()
    entry.ensure("fp32", build)
    (entry.folder / MANIFEST).write_text(text)
    entry.ensure("fp32", build)
    assert build.calls == 2
    assert read_manifest(entry.folder / MANIFEST) is not None


def test_a_graph_made_from_another_parent_is_rebuilt(entry: Entry) -> None:
    old, new = Builder(parent="p1"), Builder(parent="p2")
    entry.ensure("int8", old, parent_sha256="p1")
    entry.ensure("int8", new, parent_sha256="p2")
    assert (old.calls, new.calls) == (1, 1)


def test_precisions_share_one_manifest(entry: Entry) -> None:
    entry.ensure("fp32", Builder())
    entry.ensure("fp16-123", Builder(parent="p"), parent_sha256="p")
    manifest = read_manifest(entry.folder / MANIFEST)
    assert manifest is not None
    assert set(manifest.graphs) == {"fp32", "fp16-123"}
    assert manifest.identity == IDENTITY.facts


def test_a_failing_build_leaves_nothing(entry: Entry) -> None:
    def build(out: Path) -> GraphEntry:
        out.write_bytes(b"half")
        raise ValueError("parity failed")

    with pytest.raises(ValueError, match="parity failed"):
        entry.ensure("fp32", build)
    assert not entry.folder.exists()


def test_a_full_disk_is_told_in_a_line(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bench.store.tempfile.mkdtemp", full)
    with pytest.raises(
        StoreError, match=r"cannot write the store at .*No space left on device; free the disk"
    ):
        entry.ensure("fp32", Builder())


def test_a_store_that_cannot_be_written_is_told_in_a_line(tmp_path: Path, told: Told) -> None:
    (tmp_path / "graphs").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"cannot write the store at .*set AIMATRIX_HOME to a folder"):
        Entry(tmp_path, IDENTITY, told).ensure("fp32", Builder())


def test_a_present_graph_needs_no_lock(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    entry.ensure("fp32", Builder())
    monkeypatch.setattr("bench.store.tempfile.mkdtemp", None)
    entry.folder.with_suffix(".lock").unlink(missing_ok=True)
    entry.folder.with_suffix(".lock").mkdir()  # a lock that nobody can take
    assert entry.ensure("fp32", Builder()).path.exists()


SLOW_BUILD = """
import sys, time
from pathlib import Path
from bench.store import Entry
from tests.bench.test_store import IDENTITY, facts

class Loud:
    def note(self, line):
        print(line, flush=True)

def build(out):
    out.write_bytes(b"half")
    print("building", flush=True)
    sys.stdin.readline()
    out.write_bytes(b"whole")
    return facts()

path = Entry(Path(sys.argv[1]), IDENTITY, Loud()).ensure("fp32", build).path
print(path.read_bytes().decode(), flush=True)
"""


def _start(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW_BUILD), str(root)],
        cwd=CLONE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_killed_build_leaves_the_store_good(tmp_path: Path, entry: Entry, told: Told) -> None:
    with _start(tmp_path) as process:
        assert _line(process) == "building"
        process.send_signal(signal.SIGKILL)
    assert list(entry.folder.glob(".building-*"))
    build = Builder()
    assert entry.ensure("fp32", build).path.read_bytes() == b"graph"
    assert build.calls == 1
    assert not list(entry.folder.glob(".building-*"))
    assert told.warnings == []


def test_of_two_builds_at_once_the_second_waits_and_uses_the_first(tmp_path: Path) -> None:
    with _start(tmp_path) as first:
        assert _line(first) == "building"
        with _start(tmp_path) as second:
            assert _line(second) == f"waiting for another process that is building {IDENTITY.key}"
            first.communicate("go on\n")
            assert _line(second) == "whole"
