"""What TensorRT's parser says of every graph of a bundle stands in its manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest

from bench import cli
from bench.manifest import Manifest
from tests.bench.caffe_files import export, manifest, write_network, write_source
from tests.exporters.caffe.networks import values
from tests.exporters.caffe.test_detection import ssd

Capture = pytest.CaptureFixture[str]
DYNAMIC = """<ir_version: 10, opset_import: ["": 22]> g (float[1,4] x) => (uint8[1,4] y, float s, uint8 z) {
    [dynamic] y, s, z = DynamicQuantizeLinear(x) }"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def package() -> str:
    return f"tensorrt_rtx {pytest.importorskip('tensorrt_rtx').__version__}"


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has a parser give the same answer for every graph."""

    def answer(said: str) -> None:
        monkeypatch.setattr("bench.parsers.installed", lambda: ("tensorrt",))
        monkeypatch.setattr("bench.parsers.ask", lambda graph, flavour: ("tensorrt 11.4.0", said))

    return answer


def _said(found: Manifest) -> dict[str, dict[str, str]]:
    return {name: entry.parsers for name, entry in found.graphs.items()}


def test_every_graph_of_a_detector_is_parsed(package: str, capsys: Capture) -> None:
    write_source(ssd())
    assert export("--precision", "fp16", "--precision", "int8") == 0
    assert _said(manifest()) == {name: {package: "parsed"} for name in ("fp32", "fp16", "int8")}
    assert "does not take" not in capsys.readouterr().err


def test_a_graph_that_is_not_taken_is_written_with_the_reason(package: str, capsys: Capture) -> None:
    ir.save(ir.from_onnx_text(DYNAMIC), "dynamic.onnx")
    assert cli.main(["export", "--model", "dynamic.onnx", "--out", "bundle"]) == 0
    said = manifest().graphs["int8" if "int8" in manifest().graphs else "fp32"].parsers[package]
    assert said.startswith("node 'dynamic' (DynamicQuantizeLinear): ")
    (line,) = (each for each in capsys.readouterr().err.splitlines() if "does not take" in each)
    assert line.endswith(f"{package} does not take fp32.onnx: {said}")


ADVICE = "; --without-post-processing leaves out what accelerators have no kernels for"


@pytest.mark.parametrize("cut", [False, True])
def test_a_detector_that_is_not_taken_has_the_advice_to_cut_it(
    cut: bool, answering: Callable[[str], None], capsys: Capture
) -> None:
    write_source(ssd())
    answering("node 'found' (NonMaxSuppression): no")
    assert export(*(["--without-post-processing"] if cut else [])) == 0
    assert _said(manifest())["fp32"] == {"tensorrt 11.4.0": "node 'found' (NonMaxSuppression): no"}
    line = "tensorrt 11.4.0 does not take fp32.onnx: node 'found' (NonMaxSuppression): no"
    assert capsys.readouterr().err.splitlines()[-1] == line + ("" if cut else ADVICE)


def test_a_network_without_boxes_has_no_such_advice(
    answering: Callable[[str], None], capsys: Capture
) -> None:
    write_network('layer { name: "p" type: "TanH" bottom: "data" top: "p" }', {"p": [values(1)]}, 1, 3)
    answering("no")
    assert export() == 0
    assert capsys.readouterr().err.splitlines()[-1] == "tensorrt 11.4.0 does not take fp32.onnx: no"


def test_where_no_parser_is_installed_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.parsers.installed", tuple)
    write_source(ssd())
    assert export() == 0
    assert _said(manifest()) == {"fp32": {}}


def test_a_parser_that_cannot_be_asked_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.parsers.installed", lambda: ("tensorrt",))
    monkeypatch.setattr("bench.parsers.ask", lambda graph, flavour: None)
    write_source(ssd())
    assert export() == 0
    assert _said(manifest()) == {"fp32": {}}
