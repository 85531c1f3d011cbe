"""Whatever a user gives: one line that says what is wrong, exit code 2, and a store that is still good."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench import cli
from model_zoo.resnet_caffe import caffemodel, prototxt
from model_zoo.resnet_weights import weights_of
from runtime.tensors import Array
from tests.bench.factories import write_tiny_model
from tests.command import PROGRAM, QUICK, bench
from tests.model_zoo.resnet_relative import RELATIVE

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def refused(capture: Capture, message: str, *arguments: object) -> None:
    """The command line says no in one line of standard error, and nothing else but what it was doing."""
    assert cli.main([str(each) for each in arguments]) == 2
    told = capture.readouterr()
    assert told.out == ""
    last = told.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert not any(line.startswith(("error: ", "Traceback")) for line in told.err.splitlines()[:-1])
    assert re.search(message, last), last


# Graphs


def _noise(size: int) -> bytes:
    return np.random.default_rng(0).bytes(size)


BROKEN: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "noise": lambda content: _noise(4096),
    "text": lambda content: b"a graph, honestly",
    "first half": lambda content: content[: len(content) // 2],
    "all but the last byte": lambda content: content[:-1],
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_graph_is_refused(damage: str, tmp_path: Path, capsys: Capture) -> None:
    path = write_tiny_model(tmp_path / "graph.onnx")
    path.write_bytes(BROKEN[damage](path.read_bytes()))
    refused(capsys, r"graph\.onnx is not (an ONNX|sound ONNX)", "ort", "--model", path)
    refused(capsys, r"graph\.onnx is not", "export", "--model", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_outside_the_graphs_folder_is_refused(tmp_path: Path, capsys: Capture) -> None:
    path = write_tiny_model(tmp_path / "graph.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="data", size_threshold=0)
    content = path.read_bytes().replace(b"\x04data", b"\x04/etc")
    path.write_bytes(content)
    refused(capsys, "outside its own folder; refused", "ort", "--model", path)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path, capsys: Capture) -> None:
    refused(capsys, "a folder without a manifest.json; give an ONNX file", "ort", "--model", tmp_path)


# Caffe and TensorFlow


@pytest.fixture(scope="module")
def network() -> tuple[str, bytes]:
    return prototxt(RELATIVE), caffemodel(RELATIVE, weights_of(RELATIVE, None))


def _caffe(folder: Path, text: bytes, weights: bytes) -> tuple[object, ...]:
    (folder / "net.prototxt").write_bytes(text)
    (folder / "net.caffemodel").write_bytes(weights)
    flags = ("--prototxt", folder / "net.prototxt", "--caffemodel", folder / "net.caffemodel")
    return ("export", *flags, "--out", folder / "out")


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_prototxt_is_refused(
    damage: str, network: tuple[str, bytes], tmp_path: Path, capsys: Capture
) -> None:
    text = network[0].rstrip().encode()
    flags = _caffe(tmp_path, BROKEN[damage](text), network[1])
    refused(capsys, "prototxt|Caffe model", *flags)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_caffemodel_is_refused(
    damage: str, network: tuple[str, bytes], tmp_path: Path, capsys: Capture
) -> None:
    flags = _caffe(tmp_path, network[0].encode(), BROKEN[damage](network[1]))
    refused(capsys, "caffemodel", *flags)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.onnx"))


def test_the_two_files_of_a_caffe_network_given_the_wrong_way_round_are_refused(
    network: tuple[str, bytes], tmp_path: Path, capsys: Capture
) -> None:
    refused(capsys, "prototxt|Caffe model", *_caffe(tmp_path, network[1], network[0].encode()))


@pytest.mark.parametrize("content", [_noise(4096), b"\x08"], ids=["noise", "cut short"])
def test_a_broken_saved_model_is_refused(content: bytes, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(content)
    flags = ("--saved-model", tmp_path / "saved", "--out", tmp_path / "out")
    refused(capsys, "is not a sound SavedModel", "export", *flags)


# Feeds of a graph with two inputs

A = np.ones((6, 32), np.float32)
B = np.ones((6, 8), np.float32)


@pytest.fixture
def two_inputs(tmp_path: Path) -> Path:
    return write_two_inputs(tmp_path / "two.onnx")


def write_two_inputs(path: Path) -> Path:
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=(rows, 4)).astype(np.float32) for name, rows in (("m", 32), ("n", 8))}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["a", "m"], ["p"], "first"),
            helper.make_node("MatMul", ["b", "n"], ["q"], "second"),
            helper.make_node("Add", ["p", "q"], ["y"], "sum"),
        ],
        "two",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", s]) for n, s in (("a", 32), ("b", 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _with(array: Array, value: float) -> Array:
    changed = array.copy()
    changed[0, 0] = value
    return changed


BAD_FEEDS: Mapping[str, tuple[Mapping[str, Array], str]] = {
    "shape": ({"a": A[:, :5], "b": B}, r"'a' has shape \[6, 5\], the graph wants \['batch', 32\]"),
    "rank": ({"a": A[0], "b": B}, r"'a' has shape \[32\], the graph wants \['batch', 32\]"),
    "rows that differ": ({"a": A, "b": B[:3]}, r"'b' has shape \[3, 8\].* with \{'batch': 6\}"),
    "no rows": ({"a": A[:0], "b": B[:0]}, "holds no sample"),
    "dtype": ({"a": A.astype(np.float64), "b": B}, "'a' is float64, the graph wants float32"),
    "missing": ({"a": A}, r"missing \['b'\]"),
    "unknown": ({"a": A, "b": B, "c": B}, r"unknown \['c'\]"),
    "nothing": ({}, r"missing \['a', 'b'\]"),
    "NaN": ({"a": _with(A, np.nan), "b": B}, "'a' holds 1 NaN or infinite values; clean the feed"),
    "infinity": ({"a": _with(A, -np.inf), "b": B}, "'a' holds 1 NaN or infinite values; clean the feed"),
    "pickled": ({"a": np.array([{}], dtype=object), "b": B}, "not an .npz of plain arrays .*allow_pickle"),
}


@pytest.mark.parametrize("case", BAD_FEEDS)
def test_feeds_that_do_not_fit_are_refused(
    case: str, two_inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    arrays, message = BAD_FEEDS[case]
    np.savez(tmp_path / "feeds.npz", allow_pickle=True, **arrays)
    refused(capsys, message, "ort", "--model", two_inputs, "--feeds", tmp_path / "feeds.npz")


def _flip_in_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [*BROKEN.values(), _flip_in_the_middle], ids=[*BROKEN, "one byte flipped"])
def test_a_file_that_is_no_npz_is_refused(
    damage: Callable[[bytes], bytes], two_inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "feeds.npz"
    np.savez(path, a=np.zeros((600, 32), np.float32), b=np.zeros((600, 8), np.float32))
    path.write_bytes(damage(path.read_bytes()))
    refused(capsys, r"is not an \.npz of plain arrays", "ort", "--model", two_inputs, "--feeds", path)


def test_a_zip_of_something_else_is_refused(two_inputs: Path, tmp_path: Path, capsys: Capture) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "feeds.npz", "w") as archive:
        archive.writestr("a", "hello")
    flags = ("--feeds", tmp_path / "feeds.npz")
    refused(capsys, "'a' in it is no array", "ort", "--model", two_inputs, *flags)


@pytest.mark.parametrize(("name", "why"), [("gone.npz", "No such file"), (".", "Is a directory")])
def test_feeds_that_cannot_be_read_are_refused(
    name: str, why: str, two_inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    refused(capsys, f"cannot read --feeds .*{why}", "ort", "--model", two_inputs, "--feeds", tmp_path / name)


# The store and the output folder


def test_a_full_store_is_told_and_stays_good(home: Path, network: tuple[str, bytes], tmp_path: Path) -> None:
    """A limit on a file's size gives what a full disk gives: a write that fails in the middle."""
    flags = _caffe(tmp_path, network[0].encode(), network[1])
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); {PROGRAM}"
    code, out, error = bench(*flags, home=home, program=limited)
    assert (code, out) == (2, "")
    assert re.search("error: cannot write .*: File too large; free the disk, or set AIMATRIX_HOME", error)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".") or path.suffix == ".onnx"]
    assert cli.main([str(flag) for flag in flags]) == 0


def test_a_record_that_could_not_be_saved_is_refused_before_measuring(
    tmp_path: Path, capsys: Capture
) -> None:
    path = write_tiny_model(tmp_path / "graph.onnx")
    (tmp_path / "out").write_text("in the way")
    refused(capsys, "cannot write .*out", "null", "--model", path, "--out", tmp_path / "out", *QUICK)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--scenario", "ofline"), "unknown scenario 'ofline': did you mean offline"),
        (("--scenario", "offline"), "--scenario offline is not measured yet, only single-stream"),
        (("--batch", "-1"), "'--batch'"),
        (("--precision", "int9"), "'int9' is not one of 'fp32', 'fp16', 'bf16', 'int8'"),
        (("--device", "cdu"), "unknown device of null 'cdu': did you mean cpu"),
        (("--threads", "0"), "'--threads'"),
        (("--duration", "soon"), "'--duration'"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    flags: tuple[str, str], message: str, tmp_path: Path, capsys: Capture
) -> None:
    path = write_tiny_model(tmp_path / "graph.onnx")
    refused(capsys, message, "null", "--model", path, *flags)
