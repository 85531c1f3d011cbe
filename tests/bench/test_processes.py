"""What only separate processes show: killed, interrupted, two at once, a fresh interpreter."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from bench.record import Record
from model_zoo.resnet_caffe import caffemodel, prototxt
from model_zoo.resnet_weights import weights_of
from tests.bench.factories import write_tiny_model
from tests.calibration import tiny
from tests.command import QUICK, bench, start, wait_for
from tests.model_zoo.resnet_relative import RELATIVE

ALL = ("--precision", "fp32", "--precision", "fp16", "--precision", "int8", "--precision", "bf16")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Flags that name a small Caffe network."""
    folder = tmp_path_factory.mktemp("caffe")
    (folder / "net.prototxt").write_text(prototxt(RELATIVE))
    (folder / "net.caffemodel").write_bytes(caffemodel(RELATIVE, weights_of(RELATIVE, None)))
    return ("--prototxt", folder / "net.prototxt", "--caffemodel", folder / "net.caffemodel")


def _hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("moment", ["exporting net (caffe)", "at fp16 ...", "at int8 ..."])
def test_a_killed_export_leaves_a_good_store(
    moment: str, network: tuple[object, ...], tmp_path: Path
) -> None:
    flags = ("export", *network, *ALL, "--calibration-samples", 8, "--out", tmp_path / "out")
    with start(*flags, home=tmp_path / "home") as process:
        wait_for(process, moment)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    code, out, error = bench(*flags, home=tmp_path / "home")
    assert code == 0, error
    assert "warning" not in error
    names = ["bf16.onnx", "fp16.onnx", "fp32.onnx", "int8.onnx", "manifest.json"]
    assert out.splitlines() == [str(tmp_path / "out" / name) for name in names]
    assert _hidden(tmp_path) == []


def test_of_two_exports_at_once_one_builds_and_the_other_waits(
    network: tuple[object, ...], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with start("export", *network, "--out", tmp_path / "one", home=home) as first:
        wait_for(first, "exporting net (caffe)")
        first.send_signal(signal.SIGSTOP)  # in the middle, for as long as the second needs to get there
        with start("export", *network, "--out", tmp_path / "two", home=home) as second:
            told = wait_for(second, "waiting for another process that is building")
            first.send_signal(signal.SIGCONT)
            told += second.communicate()[1]
        first.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert "exporting" not in told
    one, two = ((tmp_path / name / "fp32.onnx").read_bytes() for name in ("one", "two"))
    assert one == two
    assert _hidden(tmp_path) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_tells_what_was_measured(sent: signal.Signals, tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    batches = range(1, 13)  # enough that one is being measured, however late a busy machine sends the signal
    flags = [part for batch in batches for part in ("--batch", batch)]
    options = ("--duration", 2, "--json")
    with start("null", "--model", path, *flags, *options, home=tmp_path / "home") as process:
        wait_for(process, "batch 2")
        process.send_signal(sent)
        out, error = process.communicate()
    assert process.returncode == 130
    assert error.splitlines()[-1] == "error: interrupted; what was measured before is kept"
    measured = [Record.model_validate(each).batch_size for each in json.loads(out)]
    assert measured == list(batches[: len(measured)])
    assert 1 <= len(measured) < len(batches)


def test_an_interrupted_export_leaves_nothing(network: tuple[object, ...], tmp_path: Path) -> None:
    flags = ("export", *network, "--precision", "int8", "--calibration-samples", 5000)
    with start(*flags, "--out", tmp_path / "out", home=tmp_path / "home") as process:
        wait_for(process, "calibrating")
        process.send_signal(signal.SIGTERM)
        error = process.communicate()[1]
    assert process.returncode == 130
    assert error.splitlines()[-1].startswith("error: interrupted")
    assert not (tmp_path / "out").exists()
    assert _hidden(tmp_path) == []


@pytest.mark.parametrize("damage", ["graph", "manifest"])
def test_a_damaged_store_is_told_and_built_anew(
    damage: str, network: tuple[object, ...], tmp_path: Path
) -> None:
    flags = ("export", *network, "--out", tmp_path / "out")
    code, _, _ = bench(*flags, home=tmp_path / "home")
    assert code == 0
    (stored,) = (tmp_path / "home").rglob("fp32.onnx")
    sound = stored.read_bytes()
    if damage == "graph":
        stored.write_bytes(sound[:1000] + bytes([sound[1000] ^ 1]) + sound[1001:])
    else:
        stored.with_name("manifest.json").write_text("{")
    code, _, error = bench(*flags, home=tmp_path / "home")
    assert code == 0
    (warning,) = (line for line in error.splitlines() if line.startswith("warning: "))
    name = "fp32.onnx is not what was stored" if damage == "graph" else "manifest.json is no manifest"
    assert name in warning
    assert stored.read_bytes() == sound
    code, _, error = bench(*flags, home=tmp_path / "home")
    assert (code, error) == (0, "")


_THEN_TELL = """
import sys
from bench.cli import main
code = main()
print(sorted({"tensorflow", "tf2onnx", "cv2"} & set(sys.modules)), file=sys.stderr)
raise SystemExit(code)
"""
_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("onnxruntime", "openvino", "tensorflow", "tf2onnx", "cv2")))
from bench.cli import main
raise SystemExit(main())
"""


def test_a_bundle_runs_where_only_a_runtime_is_installed(network: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert bench("export", *network, *ALL, "--calibration-samples", 8, "--out", out, home=tmp_path)[0] == 0
    code, told, error = bench("ort", "--model", out, *ALL[:6], "--json", *QUICK, home=tmp_path / "empty",
                              program=_THEN_TELL)  # fmt: skip
    assert code == 0, error
    records = [Record.model_validate(each) for each in json.loads(told)]
    assert [record.precision for record in records] == ["fp32", "fp16", "int8"]
    assert error.splitlines()[-1] == "[]"
    assert all(record.accuracy.sqnr_db > 20 for record in records if record.accuracy)  # type: ignore[operator]


def test_a_stored_export_needs_no_framework(network: tuple[object, ...], tmp_path: Path) -> None:
    flags = ("export", *network, "--out", tmp_path / "out")
    assert bench(*flags, home=tmp_path / "home")[0] == 0
    code, _, error = bench(*flags, home=tmp_path / "home", program=_THEN_TELL)
    assert (code, error) == (0, "[]\n")


@pytest.mark.parametrize(("backend", "extra"), [("ort", "cpu"), ("openvino", "openvino")])
def test_a_runtime_that_is_not_installed_is_named_with_its_extra(
    backend: str, extra: str, tmp_path: Path
) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    code, out, error = bench(backend, "--model", path, home=tmp_path, program=_WITHOUT)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert f"is not installed: pip install '.[{extra}]' in the clone" in error
    code, out, error = bench("doctor", home=tmp_path, program=_WITHOUT)
    assert (code, error) == (0, "")
    assert f"pip install '.[{extra}]' in the clone" in out


def test_quantising_without_a_runtime_is_refused(tmp_path: Path) -> None:
    path = tiny.residual_cnn(tmp_path)
    flags = ("null", "--model", path, "--precision", "int8", *QUICK)
    code, _, error = bench(*flags, home=tmp_path, program=_WITHOUT)
    assert code == 2
    assert "onnxruntime, which is not installed; pip install '.[cpu]' in the clone" in error


@pytest.mark.heavy
def test_a_killed_run_of_resnet50_goes_on_and_a_second_starts_from_the_store(tmp_path: Path) -> None:
    flags = ("ort", "--model", "resnet50", "--precision", "int8", "--json", *QUICK)
    for moment in ("exporting resnet50", "exporting fp32.onnx", "at int8 ..."):
        with start(*flags, home=tmp_path) as process:
            wait_for(process, moment)
            process.send_signal(signal.SIGKILL)
    code, out, error = bench(*flags, home=tmp_path)
    assert code == 0, error
    assert Record.model_validate_json(out).graph.macs == 3_857_973_248
    assert not list(tmp_path.rglob(".building-*"))
    code, out, error = bench(*flags, home=tmp_path, program=_THEN_TELL)
    assert code == 0, error
    assert "exporting" not in error
    assert "writing" not in error
    assert error.splitlines()[-1] == "[]"


@pytest.mark.heavy
def test_two_first_runs_of_resnet50_at_once_give_the_same_graph(tmp_path: Path) -> None:
    flags = ("ort", "--model", "resnet50", "--framework", "caffe", "--json", *QUICK)
    with start(*flags, home=tmp_path) as one, start(*flags, home=tmp_path) as two:
        told = [process.communicate() for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0)
    assert len({Record.model_validate_json(out).graph.sha256 for out, _ in told}) == 1
    assert sum("waiting for another process" in error for _, error in told) == 1
