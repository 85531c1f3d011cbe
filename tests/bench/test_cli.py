"""The command line, from flags to exit codes; every bad input of a user gives one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from bench import cli, cli_measure
from bench.record import Record, load
from runtime.backend import Boundary
from runtime.backends import backend_names
from tests.bench.factories import write_tiny_model

CLONE = Path(__file__).resolve().parents[2]
QUICK = ("--duration", "0.1", "--evaluation-samples", "4", "--calibration-samples", "4")


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


def test_one_cell_prints_one_json_object(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["null", "--model", str(tiny), "--json", *QUICK]) == 0
    record = Record.model_validate_json(capsys.readouterr().out)
    assert (record.model, record.framework, record.backend) == ("tiny", "onnx", "null")
    assert record.graph.sha256 == record.graph.fp32_sha256
    assert record.graph.macs == 4 * 8 * 8 * 27
    assert len(record.samples_ns) >= 50


def test_several_cells_print_one_array_and_save_each(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--batch", "1", "--batch", "2", "--out", str(tmp_path / "out")]
    assert cli.main(["null", "--model", str(tiny), "--json", *flags, *QUICK]) == 0
    records = [Record.model_validate(each) for each in json.loads(capsys.readouterr().out)]
    assert [record.batch_size for record in records] == [1, 2]
    saved = [load(path) for path in (tmp_path / "out").iterdir()]
    assert sorted(saved, key=lambda record: record.batch_size) == records


def test_precisions_of_one_graph_are_compared_with_fp32(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--precision", "fp32", "--precision", "fp16", "--json"]
    assert cli.main(["ort", "--model", str(tiny), *flags, *QUICK]) == 0
    fp32, fp16 = (Record.model_validate(each) for each in json.loads(capsys.readouterr().out))
    assert fp32.accuracy is None
    assert fp16.accuracy is not None
    assert fp16.accuracy.samples == 4
    assert fp16.accuracy.sqnr_db is not None
    assert 40 < fp16.accuracy.sqnr_db < 120  # half has 11 bits: 6 dB each, and rounding averages out
    assert fp16.graph.fp32_sha256 == fp32.graph.sha256 != fp16.graph.sha256


def test_a_users_graph_runs_at_int8_on_a_file_of_feeds(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feeds = tmp_path / "feeds.npz"
    np.savez(feeds, images=np.random.default_rng(0).normal(size=(9, 3, 8, 8)).astype(np.float32))
    flags = ["--precision", "int8", "--feeds", str(feeds), "--allow-emulation", "--json"]
    assert cli.main(["ort", "--model", str(tiny), *flags, *QUICK]) == 0
    record = Record.model_validate_json(capsys.readouterr().out)
    assert record.graph.calibration is not None
    assert record.graph.calibration.samples == 4
    assert record.feeds == "feeds.npz given by --feeds"
    assert not {"synthetic-feeds", "synthetic-calibration"} & {warning.kind for warning in record.warnings}


def test_the_second_run_takes_the_graphs_from_the_store(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["ort", "--model", str(tiny), "--precision", "fp16", *QUICK]
    assert cli.main(flags) == 0
    assert "writing tiny (onnx) at fp16" in capsys.readouterr().err
    assert cli.main(flags) == 0
    assert "writing" not in capsys.readouterr().err


def test_the_table_goes_to_stdout_and_progress_to_stderr(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["null", "--model", str(tiny), *QUICK]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("tiny, onnx, null, cpu, fp32, batch 1; single-stream, device boundary")
    assert told.err == "measuring tiny (onnx) fp32 on cpu\n"


def test_a_failing_cell_keeps_the_others(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--precision", "bf16", "--precision", "fp32", "--json"]
    assert cli.main(["ort", "--model", str(tiny), *flags, *QUICK]) == 2
    told = capsys.readouterr()
    assert [each["precision"] for each in json.loads(told.out)] == ["fp32"]
    assert "error: tiny (onnx) bf16 on cpu: " in told.err


def _bundle(tiny: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    assert cli.main(["export", "--model", str(tiny), "--precision", "fp16", "--out", str(folder)]) == 0
    return folder


def test_a_bundle_runs_by_its_folder(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _bundle(tiny, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"fp32.onnx", "fp16.onnx", "manifest.json"}
    capsys.readouterr()
    assert cli.main(["ort", "--model", str(folder), "--precision", "fp16", "--json", *QUICK]) == 0
    told = capsys.readouterr()
    assert "writing" not in told.err
    assert json.loads(told.out)["model"] == "tiny"


def test_a_damaged_bundle_is_refused(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _bundle(tiny, tmp_path)
    (folder / "fp16.onnx").write_bytes(b"something else")
    assert cli.main(["ort", "--model", str(folder), *QUICK]) == 2
    assert "fp16.onnx has digest " in capsys.readouterr().err


def test_interrupting_keeps_what_was_measured(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.measure import measure

    calls: list[object] = []

    def once(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return measure(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("bench.opened.measure", once)
    flags = ["--batch", "1", "--batch", "2", "--json", "--out", str(tmp_path / "out"), "--in-process"]
    assert cli.main(["null", "--model", str(tiny), *flags, *QUICK]) == cli.INTERRUPTED
    told = capsys.readouterr()
    assert [each["batch_size"] for each in json.loads(told.out)] == [1]
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert told.err.endswith("error: interrupted; what was measured before is kept\n")


BAD_INPUT: dict[str, tuple[list[str], str]] = {
    "unknown model": (["null", "--model", "resnet5"], r"unknown model 'resnet5': did you mean resnet50"),
    "unknown variant": (["null", "--model", "bert", "--variant", "minlm"], "did you mean minilm"),
    "unknown framework": (
        ["null", "--model", "resnet50", "--framework", "cafe"],
        "unknown framework of resnet50 'cafe': did you mean caffe",
    ),
    "unknown backend": (["otr", "--model", "m"], "No such command 'otr'"),
    "unknown device": (["null", "--model", "TINY", "--device", "cuda:7"], "unknown device of null 'cuda:7'"),
    "unknown precision": (["null", "--model", "TINY", "--precision", "int9"], "'int9' is not one of 'fp32'"),
    "unknown boundary": (["null", "--model", "TINY", "--boundary", "gpu"], "'gpu' is not one of 'device'"),
    "unknown flag": (["null", "--model", "TINY", "--prcision", "int8"], "No such option: --prcision"),
    "scenario": (
        ["null", "--model", "TINY", "--scenario", "server"],
        "--scenario server is not measured yet",
    ),
    "batch of nothing": (["null", "--model", "TINY", "--batch", "0"], "'--batch'"),
    "no model": (["null"], "Missing option '--model'"),
    "no such file": (["null", "--model", "none.onnx"], "--model none.onnx: no such file; give an ONNX file"),
    "not ONNX": (["null", "--model", "TEXT"], r"text\.onnx"),
    "truncated": (["null", "--model", "CUT"], r"cut\.onnx"),
    "feeds": (["null", "--model", "TINY", "--feeds", "TEXT"], r"is not an \.npz of plain arrays"),
    "NaN": (["null", "--model", "TINY", "--feeds", "NAN"], "holds 1 NaN or infinite values"),
    "weights of a graph": (
        ["null", "--model", "TINY", "--weights", "w"],
        "--weights is for models of the zoo",
    ),
    "feeds and data": (
        ["null", "--model", "resnet50", "--feeds", "f.npz", "--data", "d"],
        "--feeds f.npz and --data d are two answers to one question: give one",
    ),
    "no such weights": (
        ["null", "--model", "resnet50", "--weights", "none.npz"],
        "--weights none.npz: no such file, folder or checkpoint prefix",
    ),
    "export of nothing": (
        ["export", "--out", "o"],
        "export wants one of --model, --saved-model, --keras, --frozen and --prototxt",
    ),
    "half a Caffe network": (
        ["export", "--out", "o", "--prototxt", "p"],
        "give --prototxt and --caffemodel together",
    ),
    "raw heads of a graph": (
        ["export", "--out", "o", "--model", "TINY", "--without-post-processing"],
        "--without-post-processing cuts off layers of a network, got tiny .onnx., a graph already",
    ),
    "a Python layer of no prototxt": (
        ["export", "--out", "o", "--model", "resnet50", "--python-layer", "mine:double"],
        "--python-layer changes how a --prototxt is read; with --model leave it out",
    ),
    "an input of no prototxt": (
        ["export", "--out", "o", "--saved-model", "m", "--input-shape", "data=1,3"],
        "--input-shape changes how a --prototxt is read; with --saved-model leave it out",
    ),
    "layers of a graph": (
        ["export", "--out", "o", "--model", "TINY", "--check", "layers"],
        "--check layers compares blobs of Caffe networks only, got tiny",
    ),
    "no such SavedModel": (["export", "--out", "o", "--saved-model", "none"], "no saved_model.pb in it"),
    "no such prototxt": (
        ["export", "--out", "o", "--prototxt", "p", "--caffemodel", "c"],
        "--prototxt p: no such file",
    ),
    "export over a file": (["export", "--out", "TEXT", "--model", "TINY"], "is there and is no bundle"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_told_in_one_line_with_exit_code_two(
    case: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, message = BAD_INPUT[case]
    files = {name: str(tmp_path / f"{name.lower()}.onnx") for name in ("TEXT", "CUT")}
    files |= {"TINY": str(tiny), "NAN": str(tmp_path / "nan.npz")}
    Path(files["TEXT"]).write_text("not a graph")
    Path(files["CUT"]).write_bytes(tiny.read_bytes()[:100])
    images = np.zeros((1, 3, 8, 8), np.float32)
    images[0, 0, 0, 0] = np.nan
    np.savez(files["NAN"], images=images)
    assert cli.main([files.get(flag, flag) for flag in flags]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.startswith("error: ")
    _search(message, told.err)


def _search(pattern: str, text: str) -> None:
    assert re.search(pattern, text), f"{pattern!r} is not in {text!r}"


def test_a_store_that_cannot_be_written_is_told_in_one_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").write_text("in the way")
    assert cli.main(["null", "--model", str(tiny), "--precision", "fp16", *QUICK]) == 2
    _search("cannot write the store at .*set AIMATRIX_HOME", capsys.readouterr().err)


@pytest.mark.parametrize("what", ["models", "backends", "devices", "precisions"])
def test_list_tells_a_line_each(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = {"models": "resnet50", "backends": "null", "devices": "null", "precisions": "int8"}
    assert any(line.startswith(expected[what]) for line in lines)


def test_doctor_tells_of_every_backend(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in backend_names():
        assert f"\n  {name} " in out
    for section in ("machine", "backends", "devices", "abilities", "store"):
        assert f"{section}\n" in out


def test_the_boundaries_offered_are_those_of_the_runtime() -> None:
    (choices, _) = get_args(get_type_hints(cli_measure.measure, include_extras=True)["boundary"])
    assert set(get_args(choices)) == {boundary.value for boundary in Boundary}


def test_the_calibration_methods_offered_are_those_of_calibration() -> None:
    from calibration.observers import OBSERVERS

    (_, option) = get_args(get_type_hints(cli_measure.measure, include_extras=True)["calibration_method"])
    listed = option.help.partition(": ")[2].partition(";")[0]
    names = {name.split()[0] for name in re.split(", | or (?!percentile:)", listed)}
    assert names == set(OBSERVERS)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=CLONE,
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )


HEAVY = ("cv2", "numpy", "onnx", "onnx_ir", "onnxruntime", "openvino", "pydantic", "scipy", "tensorflow")


def test_help_imports_nothing_heavy() -> None:
    code = (
        f"import sys; from bench.cli import main; main(['--help']); print(set({HEAVY!r}) & set(sys.modules))"
    )
    assert _python(code).stdout.splitlines()[-1] == "set()"


def test_a_run_from_the_store_imports_no_tensorflow(tiny: Path) -> None:
    code = (
        f"import sys; from bench.cli import main; main(['null', '--model', {str(tiny)!r}, *{QUICK!r}]);"
        " print({'tensorflow', 'tf2onnx', 'cv2'} & set(sys.modules))"
    )
    assert _python(code).stdout.splitlines()[-1] == "set()"


def test_a_reader_that_leaves_is_no_error() -> None:
    code = "from bench.cli import main; raise SystemExit(main(['doctor']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=CLONE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
