"""A Caffe detector through `bench export`: whole, as raw heads, and with a field that is not Caffe's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench import cli
from bench.plan import BenchPlan
from bench.record import Record
from bench.subject import find_subject
from exporters.caffe.source import CaffeSource
from model_zoo import catalog
from model_zoo.spec import Split
from runtime.synthetic import synthetic_feed
from runtime.tensors import Feed, TensorSpec
from tests.bench.caffe_files import manifest, write_network
from tests.bench.factories import write_tiny_model
from tests.exporters.caffe.networks import prototxt
from tests.exporters.caffe.test_detection import ssd
from tests.exporters.caffe.test_regions import faster_rcnn

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


@dataclass(frozen=True)
class Photographs:
    """Samples of a detector of the zoo: every input of the whole network."""

    specs: tuple[TensorSpec, ...]
    origin: str = "photographs"
    synthetic: bool = False
    digest: str = "d"

    def batches(self, batch_size: int, split: Split) -> Iterator[Feed]:
        while True:
            yield synthetic_feed(self.specs, batch_size)


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caffe models of the zoo: `detector` (SSD), `regions` (Faster R-CNN) and `classifier` (one Softmax)."""
    spec = catalog.get_model("resnet50")

    def add(name: str, source: CaffeSource) -> None:
        network = replace(
            spec.variants[""],
            build={"caffe": lambda weights: source},
            feeds=lambda framework: Photographs(source.inputs),
        )
        monkeypatch.setitem(catalog.MODELS, name, lambda: replace(spec, variants={"": network}))

    add("detector", ssd())
    add("regions", faster_rcnn())
    softmax = 'layer { name: "prob" type: "Softmax" bottom: "data" top: "prob" }'
    add("classifier", CaffeSource(prototxt(softmax, 1, 3), b""))


def _export(model: str, *flags: str) -> int:
    return cli.main(["export", "--model", model, *flags, "--out", "bundle"])


CUT = "--without-post-processing"


@pytest.mark.usefixtures("flags", "zoo")
def test_a_detector_of_the_zoo_is_cut_as_well() -> None:
    for flags, outputs in (([], ["found"]), ([CUT], ["loc", "priors", "scores"]), ([], ["found"])):
        assert _export("detector", *flags, "--precision", "int8") == 0
        assert _outputs() == outputs, "the store mixed the two"
        assert ("post-processing" in manifest().identity) is bool(flags)


@pytest.mark.usefixtures("flags", "zoo")
def test_a_cut_network_of_the_zoo_is_fed_the_inputs_it_still_has() -> None:
    assert _export("regions", CUT, "--precision", "int8") == 0
    entry = manifest().graphs["int8"]
    assert [spec.name for spec in entry.inputs] == ["data"]
    assert entry.calibration is not None
    assert entry.calibration.feeds == "photographs"


@pytest.mark.usefixtures("flags", "zoo")
def test_the_raw_heads_of_a_bundle_are_measured_but_not_taken_for_detections(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _export("regions", CUT) == 0
    assert find_subject(BenchPlan("ort", ("bundle",)), "bundle", None).task is None
    capsys.readouterr()
    assert cli.main(["ort", "--model", "bundle", "--duration", "0.1", "--json"]) == 0
    record = Record.model_validate_json(capsys.readouterr().out)
    assert (record.model, record.feeds) == ("regions", "photographs")


NOTHING_TO_CUT = {
    "a classifier of the zoo": (["--model", "classifier"], "'net' has no DetectionOutput or Proposal layer"),
    "a model from TensorFlow": (
        ["--model", "resnet50", "--framework", "tensorflow"],
        "the model has no post-processing that could be cut off",
    ),
    "a graph": (["--model", "tiny.onnx"], "got tiny (onnx), a graph already; leave it out"),
    "a SavedModel": (["--saved-model", "tiny"], "with --saved-model leave it out"),
    "a prototxt": (
        ["--prototxt", "net.prototxt", "--caffemodel", "net.caffemodel"],
        "'net' has no DetectionOutput or Proposal layer, so there is no post-processing to cut off",
    ),
}


@pytest.mark.usefixtures("flags", "zoo")
@pytest.mark.parametrize("case", NOTHING_TO_CUT)
def test_what_has_no_post_processing_is_told_so_in_one_line(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, message = NOTHING_TO_CUT[case]
    write_tiny_model(Path("tiny.onnx"))
    write_network('layer { name: "prob" type: "Softmax" bottom: "data" top: "prob" }', {}, 1, 3)
    assert cli.main(["export", *source, CUT, "--out", "bundle"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert not Path("bundle").exists()


def test_what_is_nothing_but_post_processing_is_not_cut(flags: list[str], capsys: Capture) -> None:
    heads = "".join(
        f'input: "{name}" input_shape {{ dim: 1 {" ".join(f"dim: {size}" for size in sizes)} }}'
        for name, sizes in (("loc", (8,)), ("conf", (6,)), ("priors", (2, 8)))
    )
    bottoms = 'bottom: "loc" bottom: "conf" bottom: "priors"'
    Path("ssd.prototxt").write_text(
        f'name: "end" {heads} layer {{ name: "found" type: "DetectionOutput" {bottoms} top: "found" }}'
    )
    assert cli.main([*flags, CUT]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "the network 'end' is nothing but post-processing; leave --without-post-processing out" in last
