"""--check layers: every blob beside OpenCV's, the first wrong one named, and what cannot be compared said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from bench import cli
from bench.feeds import SyntheticFeeds
from exporters.caffe.builder import LayerBuilder
from exporters.caffe.layers import LAYERS, LayerType
from exporters.caffe.shapes import dims
from model_zoo import catalog
from runtime.tensors import TensorSpec
from tests.bench.caffe_files import export, fp32, manifest, write_network, write_source
from tests.bench.factories import write_tiny_model
from tests.exporters.caffe.networks import values
from tests.exporters.caffe.test_detection import ssd

Capture = pytest.CaptureFixture[str]

LAYERS_TEXT = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "sigmoid" type: "Sigmoid" bottom: "conv" top: "sigmoid" }
layer { name: "tanh" type: "TanH" bottom: "sigmoid" top: "tanh" }
"""
BLOBS = {"conv": [values(4, 3, 3, 3), values(4)]}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def _network() -> None:
    write_network(LAYERS_TEXT, BLOBS, 1, 3, 6, 6)


def _break(monkeypatch: pytest.MonkeyPatch, *types: str) -> None:
    """Export these layer types a percent too large."""

    def wrong(handler: Callable[..., Sequence[ir.Value]]) -> LayerType:
        def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
            (right,) = handler(build, bottoms)
            factor = build.constant("factor", np.array(1.01, np.float32))
            return [build.node("Mul", [right, factor], dims(right))]

        return LayerType(convert)

    broken = {name: wrong(LAYERS[name].convert) for name in types}
    monkeypatch.setattr("exporters.caffe.convert.LAYERS", {**LAYERS, **broken})


def test_every_blob_is_compared_and_the_manifest_tells_of_it(capsys: Capture) -> None:
    _network()
    assert export("--check", "layers", "--precision", "fp16") == 0
    facts = fp32().layers
    assert facts is not None
    assert (facts.blobs, facts.tolerance) == (4, 1e-4)
    assert 0 < facts.worst.relative < 1e-6
    assert facts.worst.absolute > 0
    lines = {"conv": 1, "relu": 3, "sigmoid": 4, "tanh": 5}
    assert facts.worst.line == lines[facts.worst.layer]
    assert facts.feeds.startswith("synthetic (seed 0)")
    told = capsys.readouterr()
    assert "4 blobs agree with OpenCV's within 0.0001 of the largest value of each; worst: blob" in told.err
    assert "comparing every blob of net (caffe) with OpenCV's ..." in told.err
    assert all(line.startswith("bundle/") for line in told.out.splitlines())
    assert manifest().graphs["fp16"].layers is None


def test_a_graph_tells_how_far_it_is_from_its_framework() -> None:
    _network()
    assert export() == 0
    entry = fp32()
    assert entry.parity is not None
    assert entry.parity.feeds == 3
    assert 0 < entry.parity.outputs["tanh"].relative < 1e-6
    assert (entry.layers, entry.unchecked, entry.warnings) == (None, None, ())


@pytest.mark.parametrize("flags", [[], ["--allow-unchecked"]], ids=["", "unchecked allowed"])
def test_the_first_wrong_blob_is_named_and_nothing_is_written(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _network()
    _break(monkeypatch, "Sigmoid", "TanH")
    assert export("--check", "layers", *flags) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: layers: line 4: layer 'sigmoid' (Sigmoid) is the first that differs")
    assert "its blob 'sigmoid' is off by 0.0" in last
    assert ", 0.01 of its largest value; 0.0001 is allowed" in last
    assert "2 blobs before it agree, 2 of 4 differ; nothing is written" in last
    assert not Path("bundle").exists()


def test_a_failed_check_leaves_the_older_bundle_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    _network()
    assert export() == 0
    before = fp32()
    _break(monkeypatch, "TanH")
    assert export("--check", "layers") == 1
    assert fp32() == before


def test_without_the_check_a_wrong_network_is_refused_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _network()
    _break(monkeypatch, "Sigmoid")
    assert export() == 1
    assert "parity: output 'tanh' of the exported graph differs" in capsys.readouterr().err


def test_the_blobs_are_compared_on_the_users_own_samples() -> None:
    _network()
    np.savez("feeds.npz", data=values(5, 3, 6, 6))
    assert export("--check", "layers", "--feeds", "feeds.npz") == 0
    facts = fp32().layers
    assert facts is not None
    assert facts.feeds == "feeds.npz given by --feeds"


def test_a_detectors_blobs_are_compared_with_and_without_its_post_processing() -> None:
    write_source(ssd())
    counts = []
    for flags in ([], ["--without-post-processing"]):
        assert export("--check", "layers", *flags) == 0
        facts = fp32().layers
        assert facts is not None
        counts.append(facts.blobs)
    assert counts == [len(ssd().network.layers), len(ssd().network.layers) - 1]


def test_a_caffe_model_of_the_zoo_is_compared_on_its_own_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = (TensorSpec("data", "float32", ("batch", 3, 16, 16)),)
    spec = catalog.get_model("resnet50")
    network = replace(
        spec.variants[""],
        build={"caffe": lambda weights: ssd()},
        feeds=lambda framework: SyntheticFeeds(specs, seed=7),
    )
    monkeypatch.setitem(catalog.MODELS, "detector", lambda: replace(spec, variants={"": network}))
    assert cli.main(["export", "--model", "detector", "--check", "layers", "--out", "bundle"]) == 0
    facts = fp32().layers
    assert facts is not None
    assert facts.feeds.startswith("synthetic (seed 7)")


@pytest.mark.heavy
def test_every_blob_of_resnet50_is_opencvs() -> None:
    flags = ["--framework", "caffe", "--check", "layers", "--out", "bundle"]
    assert cli.main(["export", "--model", "resnet50", *flags]) == 0
    facts = fp32().layers
    assert facts is not None
    assert facts.blobs == 228
    assert facts.worst.relative < 2e-5


@pytest.mark.parametrize("source", ["a model from TensorFlow", "a graph"])
def test_only_caffe_networks_have_layers_to_compare(source: str, capsys: Capture) -> None:
    tiny = str(write_tiny_model(Path("tiny.onnx")))
    flags = (
        ["--framework", "tensorflow", "--model", "resnet50"] if "TensorFlow" in source else ["--model", tiny]
    )
    assert cli.main(["export", *flags, "--check", "layers", "--out", "bundle"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --check layers compares blobs of Caffe networks only, got ")
    assert not Path("bundle").exists()


def _unusual() -> None:
    """What OpenCV does not do as Caffe does it, so that it is no oracle."""
    text = 'layer { name: "up" type: "Deconvolution" bottom: "data" top: "up" convolution_param {'
    text += " num_output: 1 kernel_size: 2 dilation: 2 bias_term: false } }"
    write_network(text, {"up": [np.ones((8, 1, 2, 2), np.float32)]}, 1, 8, 4, 4)


def test_what_opencv_cannot_run_is_refused_with_the_flag_that_allows_it(capsys: Capture) -> None:
    _unusual()
    for flags in ([], ["--check", "layers"]):
        assert export(*flags) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert "it gives the dilated Deconvolution 'up' a wrong shape" in last
        assert last.endswith("`bench export --allow-unchecked` writes the graph all the same and says so")
    assert not Path("bundle").exists()


def test_what_opencv_cannot_run_is_written_where_that_is_allowed(capsys: Capture) -> None:
    _unusual()
    assert export("--check", "layers", "--allow-unchecked", "--precision", "fp16") == 0
    reason = "OpenCV cannot run this Caffe network, so it cannot be checked: it gives the dilated"
    entry = fp32()
    assert entry.unchecked is not None
    assert entry.unchecked.startswith(f"not compared with its framework: {reason}")
    assert entry.warnings[0].startswith(f"--check layers was not made: {reason}")
    assert (entry.parity, entry.layers) == (None, None)
    told = capsys.readouterr().err
    assert told.count("warning: ") == 2
    assert export() == 2, "an unchecked graph was taken from the store"


def test_unchecked_graphs_leave_nothing_behind_but_the_bundle(tmp_path: Path) -> None:
    _unusual()
    before = set(tmp_path.iterdir())
    assert export("--allow-unchecked") == 0
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"bundle"}


def test_what_can_be_compared_is_compared_although_less_is_allowed() -> None:
    _network()
    assert export("--allow-unchecked") == 0
    assert fp32().unchecked is None
    assert fp32().parity is not None


def test_fields_that_are_not_caffes_are_told_at_every_export_and_kept(capsys: Capture) -> None:
    write_network(LAYERS_TEXT.replace('"ReLU"', '"ReLU" colour: 3'), BLOBS, 1, 3, 6, 6)
    line = "line 3: LayerParameter has no field 'colour', so it is not exported; check that the network"
    for time in ("exported", "taken from the store"):
        assert export() == 0
        told = [each for each in capsys.readouterr().err.splitlines() if each.startswith("warning: ")]
        assert len(told) == 1, time
        assert told[0].startswith(f"warning: net (caffe): {line}")
        assert fp32().warnings[0].startswith(line)


def test_a_layer_type_that_is_unknown_is_named_with_its_line_and_advice(capsys: Capture) -> None:
    write_network(LAYERS_TEXT.replace('"Sigmoid"', '"Sigmiod"'), BLOBS, 1, 3, 6, 6)
    assert export() == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: line 4: layer 'sigmoid' (Sigmiod) has a type that cannot be exported")
    assert "did you mean Sigmoid?" in last


def test_an_unknown_check_is_refused_with_those_there_are(capsys: Capture) -> None:
    _network()
    assert export("--check", "blobs") == 2
    assert "'blobs' is not one of 'layers'" in capsys.readouterr().err
