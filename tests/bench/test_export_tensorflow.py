"""--keras and --frozen: from a user's file to a bundle that was checked against TensorFlow, and runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from bench import cli
from tests.bench.caffe_files import fp32, manifest
from tests.exporters.graphs import operators

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras.*")

Capture = pytest.CaptureFixture[str]
v1 = tf.compat.v1


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def export(*flags: str) -> int:
    return cli.main(["export", "--out", "bundle", *flags])


def write_keras() -> None:
    keras = tf.keras
    x = keras.Input((6, 3), name="readings")
    memory = keras.layers.Bidirectional(keras.layers.LSTM(8), name="memory")(x)
    keras.Model(x, keras.layers.Dense(2, name="scores")(memory)).save("mine.keras")


def write_frozen() -> None:
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 8, 8, 3], "images")
        mask = v1.placeholder(tf.float32, [None, 8, 8, 1], "mask")
        kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32))
        features = tf.nn.relu(tf.nn.conv2d(images * mask, kernel, 1, "SAME"), name="features")
        tf.reduce_mean(features, [1, 2], name="scores")
    Path("mine.pb").write_bytes(graph.as_graph_def().SerializeToString())


def test_a_keras_model_becomes_a_bundle_with_its_names(capsys: Capture) -> None:
    write_keras()
    assert export("--keras", "mine.keras", "--precision", "fp16") == 0, capsys.readouterr().err
    entry, said = fp32(), manifest()
    assert (said.model, said.framework, sorted(said.graphs)) == ("mine", "tensorflow", ["fp16", "fp32"])
    assert len(said.identity["keras"]) == 64
    assert said.identity["tool keras"] == tf.keras.__version__
    assert [(tensor.name, tensor.shape) for tensor in entry.inputs] == [("readings", ("batch", 6, 3))]
    assert [tensor.name for tensor in entry.outputs] == ["scores"]
    assert entry.parity is not None
    assert 0 < entry.parity.outputs["scores"].relative < 1e-5
    assert entry.parameters == 2 * (3 + 8 + 1) * 4 * 8 + (16 + 1) * 2
    assert operators(ir.load("bundle/fp32.onnx"))["LSTM"] == 1


@pytest.mark.parametrize(
    "flags", [["--inputs", "images:0,mask"], ["--inputs", "images", "--inputs", "mask:0"]], ids=len
)
def test_a_frozen_graph_becomes_a_bundle_between_its_tensors(flags: list[str], capsys: Capture) -> None:
    write_frozen()
    assert export("--frozen", "mine.pb", *flags, "--outputs", "scores,features") == 0, capsys.readouterr().err
    entry, said = fp32(), manifest()
    assert [tensor.name for tensor in entry.inputs] == ["images", "mask"]
    assert [tensor.name for tensor in entry.outputs] == ["scores", "features"]
    assert said.identity["outputs"] == "scores,features"
    assert entry.parity is not None
    assert set(entry.parity.outputs) == {"scores", "features"}


def test_other_ends_of_one_file_are_another_graph(capsys: Capture) -> None:
    write_frozen()
    for name in ("scores", "features", "scores"):
        assert export("--frozen", "mine.pb", "--inputs", "images,mask", "--outputs", name) == 0
        assert [tensor.name for tensor in fp32().outputs] == [name]


def test_feeds_of_ones_own_are_what_is_compared(capsys: Capture) -> None:
    write_keras()
    np.savez("feeds.npz", readings=np.ones((3, 6, 3), np.float32))
    assert export("--keras", "mine.keras", "--feeds", "feeds.npz") == 0, capsys.readouterr().err
    assert fp32().parity is not None


KERAS, FROZEN = ["--keras", "mine.keras"], ["--frozen", "mine.pb"]
BAD = {
    "no ends": (
        FROZEN,
        r"does not say what its inputs .* --inputs a:0,b:0 --outputs c:0; its placeholders: imag",
    ),
    "no outputs": (
        [*FROZEN, "--inputs", "images"],
        "placeholders: images, mask; read by no other node: scores",
    ),
    "near name": ([*FROZEN, "--inputs", "images,mask", "--outputs", "score"], "did you mean scores"),
    "unfed": ([*FROZEN, "--inputs", "images", "--outputs", "scores"], "also need placeholder 'mask'"),
    "empty name": ([*FROZEN, "--inputs", "a,,b"], "--inputs a,,b: a name is empty; give NAME or NAME,NAME"),
    "twice": ([*FROZEN, "--inputs", "a,b,a"], "--inputs a,b,a names 'a' twice; give it once"),
    "ends of keras": (
        [*KERAS, "--inputs", "a"],
        "--inputs changes how a --frozen is read; with --keras leave",
    ),
    "no file": (["--keras", "gone.keras"], "--keras gone.keras: no such file"),
    "no graph": (
        ["--frozen", "gone.pb", "--inputs", "a", "--outputs", "b"],
        "--frozen gone.pb: no such file",
    ),
    "folder": (
        ["--keras", "."],
        r"--keras \. is a folder; give a .keras or .h5 file, or the folder to --saved-m",
    ),
    "two sources": ([*KERAS, *FROZEN], "export wants one of .* got --keras, --frozen"),
    "cut": ([*KERAS, "--without-post-processing"], "with --keras leave it out"),
    "other file": (["--keras", "mine.pb"], r"mine\.pb: Keras writes .keras, .h5 or .hdf5 files"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_told_in_one_line(case: str, capsys: Capture) -> None:
    write_keras()
    write_frozen()
    flags, message = BAD[case]
    assert export(*flags) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(f"^error: .*{message}", last), last
    assert not Path("bundle").exists()


def test_ids_beyond_a_table_are_told_as_a_feed_that_does_not_fit(capsys: Capture) -> None:
    keras = tf.keras
    words = keras.Input((4,), name="words", dtype="int32")
    keras.Model(words, keras.layers.Embedding(3, 2)(words)).save("mine.keras")
    assert export(*KERAS) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(
        r"^error: TensorFlow cannot run the model on this feed: indices.* is not in \[0, 3\); give", last
    )
