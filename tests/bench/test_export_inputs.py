"""--input-shape: from the flag to a bundle that was checked at these sizes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.caffe_files import export, fp32, manifest, run, write_network
from tests.exporters.caffe.networks import values

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A convolution over a placeholder of 224 x 224, as in py-faster-rcnn."""
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    text = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
      convolution_param { num_output: 2 kernel_size: 3 stride: 8 } }"""
    write_network(text, {"conv": [values(2, 3, 3, 3), values(2)]}, 1, 3, 224, 224)


def test_a_bundle_has_the_shape_that_was_asked_for() -> None:
    assert export("--input-shape", "data=1,3,60,80", "--check", "layers", "--precision", "int8") == 0
    entry = fp32()
    assert [tensor.shape for tensor in entry.inputs] == [("batch", 3, 60, 80)]
    assert [tensor.shape for tensor in entry.outputs] == [("batch", 2, 8, 10)]
    assert entry.parity is not None
    assert run({"data": values(2, 3, 60, 80)})["conv"].shape == (2, 2, 8, 10)
    assert manifest().identity["input data"] == "1,3,60,80"


def test_the_store_never_takes_one_shape_for_another() -> None:
    for size in (56, 64, 56):
        assert export("--input-shape", f"data=1,3,{size},{size}") == 0
        assert fp32().inputs[0].shape == ("batch", 3, size, size)
    assert export() == 0
    assert fp32().inputs[0].shape == ("batch", 3, 224, 224)


BAD_VALUES = {
    "no name": (["1,3,60,80"], "give NAME=SIZE,SIZE,..."),
    "no sizes": (["data="], "--input-shape data=: give NAME=SIZE,SIZE,..."),
    "words": (["data=a,b"], "--input-shape data=a,b: give NAME=SIZE,SIZE,... .* such as data=1,3,600,800"),
    "twice": (["data=1,3,8,8", "data=1,3,9,9"], "data=1,3,9,9 is the second shape for 'data'; give one"),
    "unknown": (["image=1,3,8,8"], "unknown input of this network 'image': valid: data"),
    "rank": (
        ["data=60,80"],
        r"'data' has 4 dimensions, \[batch, 3, 224, 224\]; the shape given for it has 2",
    ),
    "nothing": (["data=1,3,0,8"], "every dimension must be 1 or more"),
    "negative": (["data=1,3,-1,8"], "every dimension must be 1 or more"),
    "channels": (["data=1,4,8,8"], r"layer 'conv' \(Convolution\): blob 0 .* is it the caffemodel of this"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_a_shape_that_cannot_be_is_told_in_one_line(case: str, capsys: Capture) -> None:
    specs, message = BAD_VALUES[case]
    assert export(*(word for spec in specs for word in ("--input-shape", spec))) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(f"^error: .*{message}", last), last
    assert not Path("bundle").exists()
