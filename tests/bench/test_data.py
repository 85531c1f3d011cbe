"""`bench data`: what it lists, and what it says of a folder."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bench import data_registry
from bench.cli_data import data_app
from bench.data import examine, list_lines, report_lines
from bench.progress import Display
from model_zoo.archives import ARCHIVES
from model_zoo.datasets import DATA_SETS
from runtime.errors import UsageError
from tests.model_zoo.dataset_folders import MAKERS, write


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and standard output of `bench data ARGUMENTS`, with the command's own way to end."""
    app = typer.Typer()
    app.add_typer(data_app, name="data")
    found = CliRunner().invoke(app, ["data", *map(str, arguments)], standalone_mode=False)
    if found.exception is not None:
        raise found.exception
    return int(found.return_value or 0), found.stdout


def test_every_set_is_listed_with_its_exact_names() -> None:
    text = "\n".join(list_lines())
    for name, data_set in DATA_SETS.items():
        assert f"  {name}: {data_set.title}" in text
        for part in data_set.parts:
            assert all(pattern in text for pattern in part.patterns)


def test_every_archive_of_the_harness_is_listed_under_its_version() -> None:
    listed = {entry.archive: entry.package for entry in data_registry.ENTRIES if entry.archive}
    assert listed.keys() == ARCHIVES.keys()
    for name, package in listed.items():
        name_and_version = ARCHIVES[name].requirement.replace("==", " ").replace("=", " ")
        assert package.partition(" ")[2] == name_and_version
        assert package.startswith("Debian " if ARCHIVES[name].file.endswith(".deb") else "PyPI ")


def test_an_archive_is_fetched_once_its_folder_is_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path))
    entry = next(entry for entry in data_registry.ENTRIES if entry.archive == "words")
    assert data_registry.state_of(entry) == "to fetch, 0.9 MB"
    (tmp_path / f"archives/words-{ARCHIVES['words'].sha256[:12]}").mkdir(parents=True)
    assert data_registry.state_of(entry) == "fetched"
    unread = next(entry for entry in data_registry.ENTRIES if not entry.archive)
    assert data_registry.state_of(unread) == "not read"


def test_a_complete_set_ends_with_0(tmp_path: Path) -> None:
    MAKERS["squad"](tmp_path)
    code, text = run("doctor", tmp_path)
    assert code == 0
    assert text.splitlines() == [
        f"squad in {tmp_path}: complete",
        "          1 questions",
        "          2 answers",
        f"  remark    1 questions, and dev-v1.1 has 10,570 (1): {tmp_path}",
    ]


def test_a_missing_part_is_named_and_ends_with_1(tmp_path: Path) -> None:
    write(tmp_path / "annotations/instances_val2017.json", "{}")
    code, text = run("doctor", tmp_path)
    assert code == 1
    assert text.splitlines() == [
        f"coco in {tmp_path}: not complete",
        "  missing   val2017/*.jpg or val2014/*.jpg or images/*.jpg or images/val2017/*.jpg or"
        " images/val2014/*.jpg (the images)",
    ]


def test_problems_are_counted_with_their_first_places(tmp_path: Path) -> None:
    MAKERS["icdar15"](tmp_path)
    for number in range(20, 25):
        write(tmp_path / f"Challenge4_Test_Task1_GT/gt_img_{number}.txt", "")
    told = io.StringIO()
    lines = list(report_lines(examine(tmp_path, Display(told))))
    assert told.getvalue() == f"reading ICDAR 2015 incidental scene text, test in {tmp_path} ...\n"
    assert "  problem   the image is missing (5): img_20.jpg; img_21.jpg; img_22.jpg; and 2 more" in lines


def test_quick_decodes_nothing(tmp_path: Path) -> None:
    MAKERS["voc2007"](tmp_path)
    (tmp_path / "VOCdevkit/VOC2007/JPEGImages/000001.jpg").write_bytes(b"no image")
    assert run("doctor", tmp_path)[0] == 1
    assert run("doctor", tmp_path, "--quick")[0] == 0


def test_json_is_the_reports_and_nothing_else(tmp_path: Path) -> None:
    MAKERS["wmt"](tmp_path)
    code, text = run("doctor", tmp_path, "--json")
    (told,) = json.loads(text)
    assert code == 0
    assert (told["name"], told["complete"], told["counts"]) == ("wmt", True, {"sentences": 2})


def test_a_folder_without_a_set_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no data set that is known"):
        run("doctor", tmp_path)


def test_list_prints_the_list() -> None:
    code, text = run("list")
    assert code == 0
    assert text.splitlines() == list(list_lines())
