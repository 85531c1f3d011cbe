"""A Caffe detector through `bench export`: whole, as raw heads, and with a field that is not Caffe's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import cli
from tests.exporters.caffe.test_detection import ssd

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    source = ssd()
    (tmp_path / "ssd.prototxt").write_text(source.prototxt)
    (tmp_path / "ssd.caffemodel").write_bytes(source.caffemodel)
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return ["export", "--prototxt", "ssd.prototxt", "--caffemodel", "ssd.caffemodel", "--out", "bundle"]


def _outputs() -> list[str]:
    manifest = json.loads(Path("bundle/manifest.json").read_text())
    return sorted(output["name"] for output in manifest["graphs"]["fp32"]["outputs"])


def test_a_detector_is_exported_with_its_post_processing(flags: list[str]) -> None:
    assert cli.main(flags) == 0
    assert len(_outputs()) == 1


def test_without_post_processing_the_heads_come_out_raw(flags: list[str]) -> None:
    assert cli.main([*flags, "--precision", "int8", "--without-post-processing"]) == 0
    assert _outputs() == ["loc", "priors", "scores"]


def test_a_field_that_is_not_caffes_is_told(flags: list[str], capsys: Capture) -> None:
    prototxt = Path("ssd.prototxt")
    prototxt.write_text(prototxt.read_text().replace("layer {", "layer { colour: 3", 1))
    assert cli.main(flags) == 0
    assert "colour" in next(
        line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")
    )
