"""FP8 and INT4 as a user meets them: what runs, what is refused in a line, and what the record says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import cli
from calibration.precision import Precision
from runtime.errors import UnavailableError
from tests.calibration import tiny
from tests.command import QUICK, bench

BACKENDS = pytest.mark.parametrize("backend", ["ort", "openvino"])


@pytest.fixture
def own(tmp_path: Path) -> list[object]:
    """Flags for a graph of the user's own and its samples."""
    graph = tiny.attention(tmp_path)
    sentences = list(tiny.sentences(8))
    np.savez(
        tmp_path / "feeds.npz",
        allow_pickle=False,
        **{n: np.concatenate([s[n] for s in sentences]) for n in ("x", "mask")},
    )
    return ["--model", graph, "--feeds", tmp_path / "feeds.npz", *QUICK, "--json"]


@BACKENDS
def test_fp8_that_nothing_here_computes_is_refused_in_a_line(
    backend: str, own: list[object], tmp_path: Path
) -> None:
    code, out, error = bench(backend, *own, "--precision", "fp8", home=tmp_path / "home")
    assert (code, out) == (1, "")
    [line] = [line for line in error.splitlines() if line.startswith("error:")]
    assert "not executed as asked: FP8 is emulated: the multiply-accumulates ran as float32 100.0%" in line
    assert "--allow-emulation measures it all the same" in line
    assert "Traceback" not in error


def test_fp8_is_measured_where_emulation_is_allowed(own: list[object], tmp_path: Path) -> None:
    code, out, _ = bench("ort", *own, "--precision", "fp8", "--allow-emulation", home=tmp_path / "home")
    record = json.loads(out)
    assert code == 0
    assert record["executed"]["macs_by_type"] == {"float32": 1.0}
    assert "emulated" in {warning["kind"] for warning in record["warnings"]}
    assert record["accuracy"]["sqnr_db"] > 20


@BACKENDS
def test_int4_weights_run_in_float32_and_the_record_says_so(
    backend: str, own: list[object], tmp_path: Path
) -> None:
    code, out, error = bench(backend, *own, "--precision", "int4", home=tmp_path / "home")
    assert code == 0, error
    record = json.loads(out)
    assert record["executed"]["macs_by_type"] == {"float32": 1.0}
    assert [w["message"] for w in record["warnings"] if w["kind"] == "executed-as-other-type"] == [
        "weights alone are INT4: the multiply-accumulates ran as float32 100.0%"
    ]
    assert record["accuracy"]["sqnr_db"] > 15
    assert "2 of 6 nodes are not in int4" in error


def _entry(home: Path, precision: str) -> dict[str, Any]:
    """The only graph of that precision in the store."""
    [manifest] = home.rglob("manifest.json")
    graphs = json.loads(manifest.read_text())["graphs"]
    [entry] = [graph for graph in graphs.values() if graph["precision"] == precision]
    return dict(entry)


def test_the_manifest_tells_what_stays_float_in_fp16_and_its_range(own: list[object], tmp_path: Path) -> None:
    code, _, error = bench("ort", *own, "--precision", "fp16", home=tmp_path / "home")
    assert code == 0, error
    kept = {facts["node"]: facts for facts in _entry(tmp_path / "home", "fp16")["kept"]}
    assert kept["mask_far"] == {
        "node": "mask_far",
        "reason": "values there come near the end of float16 or lie beyond",
        "tensor": "mb",
        "minimum": -1e9,
        "maximum": 0.0,
    }
    assert kept.keys() == {"mask_far", "mask_wide", "masked", "softmax"}
    assert "4 of 23 nodes are not in fp16" in error


def test_fp16_is_written_by_rule_where_nothing_can_run_the_graph(
    own: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise UnavailableError("onnxruntime is not installed")

    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("calibration.half_ranges.observe_magnitudes", missing)
    assert cli.main(["ort", *map(str, own), "--precision", "fp16"]) == 0
    told = (
        "onnxruntime is not installed; without, what would overflow is told by operators and constants alone"
    )
    assert told in capsys.readouterr().err
    assert not _entry(tmp_path / "home", "fp16")["kept"]


def test_precisions_are_listed_a_line_each(tmp_path: Path) -> None:
    _, out, _ = bench("list", "precisions", home=tmp_path)
    assert [line.split()[0] for line in out.splitlines()] == [precision.value for precision in Precision]
    assert all(len(line.split()) > 2 for line in out.splitlines())


def test_a_recipe_of_every_pass_makes_one_file_that_every_backend_runs(
    own: list[object], tmp_path: Path
) -> None:
    recipe = "min-max+equalise:0.5+smooth:0.5+shift+feedback"
    flags = [*own, "--precision", "int8", "--calibration-method", recipe, "--calibration-samples", 4]
    records = []
    for backend in ("ort", "openvino", "ort"):
        code, out, error = bench(backend, *flags, home=tmp_path / "home")
        assert code == 0, error
        records.append(json.loads(out))
    assert records[0]["graph"]["sha256"] == records[1]["graph"]["sha256"]
    assert records[0]["graph"]["calibration"]["method"] == recipe
    assert "writing" not in error  # the third run found it in the store
    assert min(record["accuracy"]["cosine"]["mean"] for record in records) > 0.98


def test_a_recipe_that_cannot_be_read_is_refused_in_a_line(own: list[object], tmp_path: Path) -> None:
    flags = ["--precision", "int8", "--calibration-method", "min-max+smoth"]
    code, out, error = bench("ort", *own, *flags, home=tmp_path / "home")
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "unknown pass of the calibration method 'min-max+smoth' 'smoth'" in error
