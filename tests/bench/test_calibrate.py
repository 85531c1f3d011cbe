"""`bench calibrate` and --ranges, as a user has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import cli
from bench.record import Record
from calibration.range_files import TENSORRT_VERSION
from calibration.ranges import Range, Ranges
from runtime.graphs import graph_digest
from tests.bench.factories import write_tiny_model
from tests.calibration import tiny

Capture = pytest.CaptureFixture[str]
SAMPLES = np.random.default_rng(0).normal(size=(12, 3, 16, 16)).astype(np.float32)


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return tiny.residual_cnn(tmp_path)


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    np.savez(tmp_path / "feeds.npz", images=SAMPLES)
    return tmp_path / "feeds.npz"


def _calibrate(graph: Path, *flags: object) -> int:
    return cli.main(["calibrate", "--model", str(graph), *map(str, flags)])


def test_ranges_of_a_users_feeds_are_numpys(
    graph: Path, feeds: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "ranges.json"
    flags = ("--feeds", feeds, "--method", "min-max", "--samples", 4, "--out", out, "--json")
    assert _calibrate(graph, *flags) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["method"], document["samples"]) == ("min-max", 4)
    assert document["feeds"] == "feeds.npz given by --feeds"
    seen = SAMPLES[:8:2]  # the even ones calibrate
    assert document["tensors"]["images"]["amax"] == float(np.abs(seen).max())
    ranges = Ranges.load(out)
    assert ranges.graph == document["graph"] == graph_digest(graph)
    assert ranges.tensors["images"] == Range(float(seen.min()), float(seen.max()), float(np.abs(seen).max()))
    assert set(ranges.tensors) == set(document["tensors"])


def test_a_person_reads_the_widest_and_the_narrowest(graph: Path, capsys: Capture) -> None:
    assert _calibrate(graph, "--method", "percentile:90", "--samples", 4) == 0
    out = capsys.readouterr().out
    assert "cnn (onnx), graph" in out
    assert "percentile:90 over 4 samples: synthetic (seed 0)" in out
    assert "5 tensors: 5 clipped, 3 never negative" in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith((" images", " r1"))]


def test_the_second_time_they_come_from_the_store(graph: Path, feeds: Path, capsys: Capture) -> None:
    flags = ("--feeds", feeds, "--samples", 4, "--json")
    assert _calibrate(graph, *flags) == 0
    first = capsys.readouterr()
    assert _calibrate(graph, *flags) == 0
    again = capsys.readouterr()
    assert (again.out, again.err) == (first.out, "")
    np.savez(feeds, images=SAMPLES + 1)
    assert _calibrate(graph, *flags) == 0
    assert capsys.readouterr().err == "stored ranges do not serve, finding them anew: feeds changed\n"


def test_every_format_is_written(graph: Path, tmp_path: Path) -> None:
    assert _calibrate(graph, "--samples", 2, "--out", tmp_path / "r.cache") == 0
    assert (tmp_path / "r.cache").read_text().startswith("TRT-101300-EntropyCalibration2\n")
    assert _calibrate(graph, "--samples", 2, "--out", tmp_path / "r.flatbuffers") == 0
    assert _calibrate(graph, "--samples", 2, "--out", tmp_path / "t.json", "--format", "onnxruntime") == 0
    assert "r1" in json.loads((tmp_path / "t.json").read_text())


def test_the_release_the_flag_is_for_is_that_of_the_format() -> None:
    from inspect import signature

    from bench.cli_calibrate import calibrate

    assert signature(calibrate).parameters["tensorrt_version"].default == TENSORRT_VERSION


def test_two_methods_are_compared(graph: Path, tmp_path: Path, capsys: Capture) -> None:
    assert _calibrate(graph, "--samples", 4, "--method", "min-max", "--out", tmp_path / "r.json") == 0
    flags = ("--samples", 4, "--method", "percentile:50", "--compare", tmp_path / "r.json")
    capsys.readouterr()
    assert _calibrate(graph, *flags) == 0
    assert "0 of 5 tensors are clipped at the same magnitude" in capsys.readouterr().out
    assert _calibrate(graph, *flags, "--json") == 0
    ratios = [each["ratio"] for each in json.loads(capsys.readouterr().out)["differences"]["tensors"]]
    assert ratios == sorted(ratios)
    assert all(0 < ratio < 1 for ratio in ratios)


def test_ranges_of_another_graph_compare_with_exit_code_1(
    graph: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = write_tiny_model(tmp_path / "other.onnx")
    assert _calibrate(other, "--samples", 2, "--out", tmp_path / "r.json") == 0
    assert _calibrate(graph, "--samples", 2, "--compare", tmp_path / "r.json") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "not ranges of the same tensors: the graphs differ, " in error
    assert "and 3 more only in these" in error


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--method", "minmax"), "unknown calibration method 'minmax': did you mean min-max"),
        (("--method", "percentile:200"), "'percentile:200': a percentile is above 0 and at most 100"),
        (("--format", "json"), "--format json is that of --out, which is missing; give both or neither"),
        (("--out", "ranges.txt"), "--out ranges.txt: its suffix stands for no format; end it in .json"),
        (("--compare", "absent.json"), "absent.json is not a sound file of calibrated ranges"),
        (("--out", "r.cache", "--tensorrt-version", "11.0"), "TensorRT 11 reads no calibration cache"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    graph: Path, flags: tuple[str, ...], complaint: str, capsys: Capture
) -> None:
    assert _calibrate(graph, "--samples", 2, *flags) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert complaint in error


def test_ranges_of_a_graph_that_is_int8_already_are_refused(
    graph: Path, tmp_path: Path, capsys: Capture
) -> None:
    from calibration.collect import calibrate
    from calibration.precision import Precision
    from calibration.write import write_precision

    int8 = tmp_path / "int8.onnx"
    write_precision(graph, Precision.INT8, int8, calibrate(graph, tiny.images(2)))
    assert _calibrate(int8) == 2
    assert "int8.onnx is an int8 graph: ranges are those of the fp32 graph" in capsys.readouterr().err


QUICK = (
    "--precision",
    "int8",
    "--duration",
    "0.1",
    "--evaluation-samples",
    "2",
    "--allow-emulation",
    "--json",
)


def _measure(graph: Path, *flags: object) -> int:
    return cli.main(["ort", "--model", str(graph), *QUICK, *map(str, flags)])


def test_given_ranges_are_used_and_named(graph: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "mine.json"
    assert _calibrate(graph, "--samples", 3, "--method", "percentile:99", "--out", out) == 0
    capsys.readouterr()
    assert _measure(graph, "--ranges", out) == 0
    captured = capsys.readouterr()
    calibration = Record.model_validate_json(captured.out).graph.calibration
    assert calibration is not None
    assert (calibration.method, calibration.samples, calibration.synthetic) == ("percentile:99", 3, True)
    assert calibration.feeds == "those of mine.json, given by --ranges"
    assert "calibrating" not in captured.err


def test_other_ranges_are_another_graph_and_the_note_says_why(
    graph: Path, tmp_path: Path, capsys: Capture
) -> None:
    digests = []
    for method in ("min-max", "percentile:50", "min-max"):
        out = tmp_path / "ranges.json"
        assert _calibrate(graph, "--samples", 3, "--method", method, "--out", out) == 0
        capsys.readouterr()
        assert _measure(graph, "--ranges", out) == 0
        captured = capsys.readouterr()
        digests.append(Record.model_validate_json(captured.out).graph.sha256)
        wrote = "the stored int8 graph does not serve, writing another: ranges changed, method min-max ->"
        assert (wrote in captured.err) == (method == "percentile:50")
    assert digests[0] == digests[2] != digests[1]


def test_a_stored_int8_graph_that_does_not_serve_says_what_changed(graph: Path, capsys: Capture) -> None:
    assert _measure(graph, "--calibration-samples", 2) == 0
    assert "does not serve" not in capsys.readouterr().err
    assert _measure(graph, "--calibration-samples", 3) == 0
    error = capsys.readouterr().err
    assert "the stored int8 graph does not serve, writing another: samples 2 -> 3" in error
    assert "stored ranges do not serve, finding them anew: samples 2 -> 3" in error


def test_ranges_of_another_graph_are_refused_with_what_differs(
    graph: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = write_tiny_model(tmp_path / "other.onnx")
    assert _calibrate(other, "--samples", 2, "--out", tmp_path / "r.json") == 0
    assert _measure(graph, "--ranges", tmp_path / "r.json") == 2
    error = capsys.readouterr().err
    assert (
        f"r.json is of the graph {graph_digest(other)[:12]}, and cnn.onnx is {graph_digest(graph)[:12]}"
        in error
    )
    assert (
        "4 of this graph's have no range in it, such as 'c2'; find this one's with `bench calibrate`" in error
    )


def test_ranges_of_the_same_tensors_with_other_weights_are_refused(
    graph: Path, tmp_path: Path, capsys: Capture
) -> None:
    ranges = Ranges({name: Range(0, 1, 1) for name in ("images", "r1", "c2", "r2", "g")}, "min-max", 1, "ab")
    ranges.save(tmp_path / "r.json")
    assert _measure(graph, "--ranges", tmp_path / "r.json") == 2
    assert "the tensors are the same ones, the weights or attributes are not" in capsys.readouterr().err


def test_ranges_and_a_method_are_one_too_many(graph: Path, capsys: Capture) -> None:
    assert _measure(graph, "--ranges", "r.json", "--calibration-method", "entropy") == 2
    assert "--ranges r.json and --calibration-method entropy are two answers" in capsys.readouterr().err
