"""`bench sensitivity` from flags to a mixed graph that runs, and its parts on worked-out figures."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bench import cli
from bench.attestation import attest
from bench.candidates import Candidate, is_dominated
from bench.criterion import check_gate, criterion_of
from bench.record import AccuracyRecord, Record
from bench.sensitivity_findings import Repair
from bench.sensitivity_report import share, standing, verdict
from calibration.precision import Precision
from model_zoo.spec import Exam, Labels, Question
from model_zoo.tasks import CLASSIFICATION
from runtime.backend import Executed
from runtime.errors import CheckFailed, UsageError
from runtime.tensors import Array
from tests.bench.factories import accuracy, write_tiny_model
from tests.calibration import tiny
from tests.calibration.planted import BAD, planted

Capture = pytest.CaptureFixture[str]

QUICK = ("--calibration-method", "min-max", "--calibration-samples", "8", "--evaluation-samples", "8")
GATE = 0.999


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of one's own, and as few turns as there may be: none of the tests is about speed."""
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("bench.candidates.TURNS_NS", 1)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return planted(tmp_path)


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    """Even samples calibrate, odd ones judge (bench.feeds.ArrayFeeds)."""
    (feed,) = tiny.images(16, batch=16)
    np.savez(tmp_path / "feeds.npz", images=feed["images"])
    return tmp_path / "feeds.npz"


def run(capture: Capture, graph: Path, *flags: object) -> tuple[int, Any, str]:
    """Exit code, what was printed (a JSON object unless --table is given), and standard error."""
    told_as = [] if "--table" in flags else ["--json"]
    rest = [str(flag) for flag in flags if flag != "--table"]
    code = cli.main(["sensitivity", "--model", str(graph), *QUICK, *rest, *told_as])
    told = capture.readouterr()
    return code, json.loads(told.out) if told_as and told.out else told.out, told.err


def _cosine(one: Path, other: Path, images: Array) -> float:
    """The mean cosine of two graphs' outputs, by ONNX's reference evaluator."""
    found = [tiny.evaluate(path, {"images": images})[0].astype(np.float64) for path in (one, other)]
    norms = np.prod([np.linalg.norm(rows, axis=1) for rows in found], axis=0)
    products = (found[0] * found[1]).sum(axis=1)
    # INT8 leaves nothing but zeros of the planted network
    return float(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0).mean())


def test_a_planted_bad_layer_is_found_and_the_repaired_graph_passes_the_gate(
    graph: Path, feeds: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    code, found, error = run(capsys, graph, "--feeds", feeds, "--gate", GATE, "--out", out)
    assert code == 0, error
    assert found["layers"][0]["node"] == BAD
    assert found["repair"]["kept"] == [BAD]
    assert found["repair"]["met"]
    with np.load(feeds) as archive:
        judged = archive["images"][1::2]
    assert _cosine(graph, out / "int8-mixed.onnx", judged) >= GATE
    (int8,) = (tmp_path / "home").rglob("int8-[0-9a-f]*.onnx")
    assert _cosine(graph, int8, judged) < GATE
    by_precision = {each["precision"]: each for each in found["repair"]["candidates"]}
    assert by_precision["int8"]["reached"] < GATE <= by_precision["int8-mixed"]["reached"]
    assert by_precision["int8-mixed"]["standing"] == "chosen"
    assert by_precision["fp32"]["reached"] == 1
    macs = {layer["node"]: layer["macs_share"] for layer in found["layers"]}
    assert by_precision["int8-mixed"]["int8_macs"] == pytest.approx(1 - macs[BAD])


def test_the_mixed_graph_tells_where_it_comes_from_and_is_the_one_that_runs(
    graph: Path, feeds: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    _, found, _ = run(capsys, graph, "--feeds", feeds, "--gate", GATE, "--out", out)
    (manifest,) = (tmp_path / "home").rglob("manifest.json")
    (entry,) = (
        each
        for each in json.loads(manifest.read_text())["graphs"].values()
        if each["precision"] == "int8-mixed"
    )
    facts = entry["provenance"]
    assert json.loads(facts["kept"]) == [BAD]
    assert facts["gate"] == f"{GATE} of mean cosine with fp32"
    assert facts["reached"].endswith("on 8 samples")
    assert len(facts["ranking"]) == len(facts["int8"]) == 64
    assert entry["parent_sha256"] == found["fp32_sha256"]
    assert entry["calibration"]["samples"] == 8
    assert Path(found["repair"]["graph"]).read_bytes() == (out / "int8-mixed.onnx").read_bytes()
    flags = ["--feeds", str(feeds), "--duration", "0.1", "--evaluation-samples", "8", "--json"]
    assert cli.main(["ort", "--model", str(graph), "--precision", "int8-mixed", *flags]) == 0
    record = Record.model_validate_json(capsys.readouterr().out)
    assert record.precision == "int8-mixed"
    assert record.graph.sha256 == entry["sha256"] == found["repair"]["graph_sha256"]
    assert 0 < record.executed.macs_by_type["int8"] < 1


def test_the_layers_that_are_kept_can_be_in_float16(
    graph: Path, feeds: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    code, found, error = run(
        capsys, graph, "--feeds", feeds, "--gate", GATE, "--kept-in", "fp16", "--out", out
    )
    assert code == 0, error
    assert found["repair"]["kept_in"] == "fp16"
    assert found["repair"]["kept"] == [BAD]
    assert found["repair"]["verdict"].startswith("1 of 5 layers in fp16 meet the gate of 0.999")
    assert "nodes are not in int8-mixed" in error
    assert "kept in float16 to hold the accuracy" in error
    model = onnx.load(out / "int8-mixed.onnx")
    weights = {each.name: each.data_type for each in model.graph.initializer}
    (bad,) = (node for node in model.graph.node if node.name == BAD)
    assert weights[bad.input[1]] == onnx.TensorProto.FLOAT16
    with np.load(feeds) as archive:
        assert _cosine(graph, out / "int8-mixed.onnx", archive["images"][1::2]) >= GATE


def test_it_is_told_in_tables_and_drawn(graph: Path, feeds: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    flags = ("--feeds", feeds, "--gate", GATE, "--out", out, "--top", "2", "--table")
    code, text, error = run(capsys, graph, *flags)
    assert code == 0
    lines = text.splitlines()
    assert any(line.split()[:3] == ["1", BAD, "Conv"] and line.split()[-1] == "kept" for line in lines)
    assert "and 3 more" in text
    assert any(line.startswith("1 of 5 layers in fp32 meet the gate of 0.999") for line in lines)
    assert "1 of 5 layers in float: mean cosine with fp32" in error
    assert json.loads((out / "sensitivity.json").read_text())["layers"][0]["node"] == BAD
    texts = [each.text for each in ET.parse(out / "sensitivity.svg").iter() if each.tag.endswith("text")]
    assert {BAD, "stem", "second", "fourth", "classify"} <= set(texts)


def test_a_gate_that_int8_meets_needs_no_mixture(
    graph: Path, feeds: Path, tmp_path: Path, capsys: Capture
) -> None:
    cnn = tiny.residual_cnn(tmp_path)
    code, found, error = run(capsys, cnn, "--feeds", feeds, "--gate", "0.9", "--out", tmp_path / "out")
    assert code == 0, error
    assert found["repair"]["kept"] == []
    assert found["repair"]["verdict"].startswith("int8 meets the gate of 0.9 as it is: mean cosine")
    assert not (tmp_path / "out" / "int8-mixed.onnx").exists()


def test_a_gate_that_no_mixture_meets_is_a_no(graph: Path, feeds: Path, capsys: Capture) -> None:
    code, found, error = run(capsys, graph, "--feeds", feeds, "--gate", "1")
    assert code == 1
    assert (found["repair"]["met"], found["repair"]["kept"], found["repair"]["graph"]) == (False, None, None)
    assert "nearest" in {each["standing"] for each in found["repair"]["candidates"]}
    last = error.splitlines()[-1]
    assert last.startswith("error: no mixture of int8 and fp32 meets the gate of 1: mean cosine with fp32")
    assert last.endswith("use fp32, fp16 or bf16, or a lower --gate")


def test_layers_can_be_ranked_and_no_more(graph: Path, feeds: Path, capsys: Capture) -> None:
    flags = ("--feeds", feeds, "--rank-only", "--samples", "3", "--output-samples", "0")
    code, found, error = run(capsys, graph, *flags)
    assert code == 0, error
    assert found["repair"] is None
    assert (found["samples"], found["output_samples"]) == (3, 0)
    assert {layer["output_sqnr_db"] for layer in found["layers"]} == {None}
    ratios = [layer["sqnr_db"] for layer in found["layers"]]
    assert ratios == sorted(ratios)


def test_openvino_judges_too(graph: Path, feeds: Path, capsys: Capture) -> None:
    pytest.importorskip("openvino")
    code, found, error = run(capsys, graph, "--feeds", feeds, "--gate", GATE, "--backend", "openvino")
    assert code == 0, error
    assert found["backend"].startswith("openvino")
    assert found["repair"]["kept"] == [BAD]


def test_made_up_inputs_are_said_to_be(tmp_path: Path, capsys: Capture) -> None:
    code, text, _ = run(capsys, write_tiny_model(tmp_path / "tiny.onnx"), "--gate", "0.5", "--table")
    assert code == 0
    assert "warning: made-up inputs" in text


def test_a_mixed_graph_has_to_be_found_before_it_runs(graph: Path, feeds: Path, capsys: Capture) -> None:
    code = cli.main(["ort", "--model", str(graph), "--feeds", str(feeds), "--precision", "int8-mixed"])
    assert code == 2
    asked = f"`bench sensitivity --model {graph} --gate G` finds the layers to keep in float"
    assert f"planted (onnx) has no int8-mixed graph yet; {asked}" in capsys.readouterr().err


def test_a_damaged_mixed_graph_does_not_run(
    graph: Path, feeds: Path, tmp_path: Path, capsys: Capture
) -> None:
    run(capsys, graph, "--feeds", feeds, "--gate", GATE)
    (mixed,) = (tmp_path / "home").rglob("int8-mixed-*.onnx")
    mixed.write_bytes(mixed.read_bytes()[:-1])
    code = cli.main(["ort", "--model", str(graph), "--feeds", str(feeds), "--precision", "int8-mixed"])
    error = capsys.readouterr().err
    assert code == 2
    assert f"warning: {mixed} is not what was stored (digest differs); it is not used" in error


def test_the_mixed_graph_that_was_found_last_is_the_one_that_runs(
    graph: Path, feeds: Path, tmp_path: Path, capsys: Capture
) -> None:
    for gate in (GATE, 0.99, GATE):
        _, found, _ = run(capsys, graph, "--feeds", feeds, "--gate", gate)
        (manifest,) = (tmp_path / "home").rglob("manifest.json")
        *_, (name, entry) = json.loads(manifest.read_text())["graphs"].items()
        assert Path(found["repair"]["graph"]).stem == name
        assert entry["provenance"]["gate"].startswith(f"{gate} of")


WRONG: Mapping[str, tuple[tuple[str, ...], str]] = {
    "gate": (("--gate", "99"), r"--gate 99 is no share of what fp32 gives: .* such as 0.99"),
    "no gate": (("--gate", "0"), r"--gate 0 is no share"),
    "method": (("--calibration-method", "magic"), "calibration method 'magic'"),
    "backend": (("--backend", "abacus"), "abacus"),
    "device": (("--device", "tpu"), "unknown device of ort 'tpu'"),
    "precision": (("--precision", "fp16"), "fp16"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_meant_is_refused_in_a_line(case: str, graph: Path, capsys: Capture) -> None:
    flags, message = WRONG[case]
    code, _, error = run(capsys, graph, *flags)
    assert code == 2
    (line,) = (line for line in error.splitlines() if line.startswith("error: "))
    assert re.search(message, line), line


def test_a_graph_that_is_int8_already_is_refused(
    graph: Path, feeds: Path, tmp_path: Path, capsys: Capture
) -> None:
    run(capsys, graph, "--feeds", feeds, "--gate", GATE, "--out", tmp_path / "out")
    code, _, error = run(capsys, tmp_path / "out" / "int8-mixed.onnx", "--feeds", feeds)
    assert code == 2
    assert "int8-mixed.onnx is an int8 graph: ranges are those of the fp32 graph it was made from" in error


def _candidate(layers: int, reached: float, speed_up: float, **changes: Any) -> Candidate:
    kept = tuple(f"layer {index}" for index in range(layers))
    one = Candidate(Precision.INT8_MIXED, kept, 0.5, reached, None, None, 1_000_000, speed_up)
    return replace(one, **changes)


def test_a_candidate_is_dominated_by_what_is_better_in_one_and_no_worse_in_the_other() -> None:
    slow, fast, worse, same = (
        _candidate(3, 0.99, 1.0),
        _candidate(2, 0.99, 2.0),
        _candidate(1, 0.95, 1.5),
        _candidate(1, 0.95, 2.5),
    )
    everyone = (slow, fast, worse, same)
    assert [is_dominated(each, everyone) for each in everyone] == [True, False, True, False]
    assert not is_dominated(fast, (fast, replace(fast)))


def test_the_verdict_names_what_was_reached_and_what_it_costs() -> None:
    int8 = _candidate(0, 0.67, 3.0, precision=Precision.INT8)
    fp32 = _candidate(4, 1.0, 1.0, precision=Precision.FP32)
    mixed = _candidate(2, 0.992, 2.0)
    repair = Repair(0.99, "top-1 agreement", 64, Precision.FP32, mixed.kept, (int8, mixed, fp32))
    assert verdict(repair) == (
        "2 of 4 layers in fp32 meet the gate of 0.99: top-1 agreement 99.20 % on 64 samples"
        " (int8: 67.00 %), 2.00x the speed of fp32 (int8: 3.00x)"
    )
    assert [standing(each, repair) for each in repair.candidates] == ["", "chosen", ""]
    failed = replace(repair, gate=0.999, kept=None)
    assert verdict(failed).startswith("no mixture of int8 and fp32 meets the gate of 0.999")
    assert standing(mixed, failed) == "nearest"


def test_what_is_nearly_everything_is_not_shown_as_everything() -> None:
    assert [share(value) for value in (1.0, 0.999999, 0.5)] == ["100.00 %", "> 99.99 %", "50.00 %"]


CRITERIA: Mapping[str, tuple[dict[str, Any], float, float]] = {
    "all finite": ({}, 63 / 64, 0.9991),
    "half of it not finite": ({"non_finite_samples": 32}, 63 / 64, 0.9991 / 2),
    "against each other": ({"cosine": {"mean": -0.5, "min": -1.0}, "agreement": 0.0}, 0.0, 0.0),
    "zero on both sides": ({"cosine": None, "max_abs_error": 0.0}, 63 / 64, 1.0),
    "zero on one side": ({"cosine": None, "max_abs_error": 0.5}, 63 / 64, 0.0),
}


@pytest.mark.parametrize("case", CRITERIA)
def test_the_gate_is_about_agreement_or_where_there_is_none_the_cosine(case: str) -> None:
    changes, agreement, cosine = CRITERIA[case]
    found = AccuracyRecord.model_validate(accuracy(**changes))
    task, nothing = criterion_of(CLASSIFICATION), criterion_of(None)
    assert (task.name, nothing.name) == (CLASSIFICATION.agreement, "mean cosine with fp32")
    assert task.reached(found) == pytest.approx(agreement)
    assert nothing.reached(found) == pytest.approx(cosine)


def test_a_gate_is_a_share() -> None:
    check_gate(1.0)
    with pytest.raises(UsageError, match="above 0 and up to 1"):
        check_gate(1.01)


def test_a_mixed_run_is_held_to_what_its_file_promises() -> None:
    def ran(**types: float) -> Executed:
        return Executed(1.0, types, (), None, "a test")

    written = {"int8": 0.3, "float32": 0.7}
    (warned,) = attest(
        ran(int8=0.3, float32=0.7), Precision.INT8_MIXED, "cpu", written=written, allow_emulation=False
    )
    assert "30.0% of them INT8-MIXED in the file" in warned.message
    with pytest.raises(CheckFailed, match="INT8-MIXED is emulated"):
        attest(
            ran(int8=0.1, float32=0.9), Precision.INT8_MIXED, "cpu", written=written, allow_emulation=False
        )


def test_data_files_of_a_large_mixed_graph_are_copied_under_their_names(tmp_path: Path) -> None:
    from bench.manifest import GraphEntry
    from bench.sensitivity import GRAPH, _copy
    from bench.store import StoredGraph

    stored = write_tiny_model(tmp_path / "int8-mixed-1.onnx")
    onnx.save(onnx.load(stored), stored, save_as_external_data=True, location="weights", size_threshold=100)
    entry = GraphEntry.of_file(stored, Precision.INT8_MIXED)
    files = {"int8-mixed-1.onnx": "digest", "weights": "digest"}
    (tmp_path / "out").mkdir()
    _copy(StoredGraph(stored, entry.model_copy(update={"files": files})), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {GRAPH, "weights"}
    onnx.checker.check_model(str(tmp_path / "out" / GRAPH))


def _labelled_by_fp32(graph: Path) -> Exam:
    """Images whose labels are FP32's own answers, so that FP32 has them all right."""

    def questions(folder: Path | None, progress: object) -> Iterator[Question]:
        for feed in tiny.images(400, batch=100, seed=9):
            truths = tiny.evaluate(graph, feed)[0].argmax(axis=1)
            yield Question(feed, [int(truth) for truth in truths], [""] * len(truths))

    answers = lambda feed, outputs: list(outputs["logits"])  # noqa: E731 - no more than that
    return Exam("made up", Labels.COMPOSED, ("top-1",), questions, answers)


def test_the_gate_can_be_about_the_tasks_own_metric(
    graph: Path, feeds: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    exam = _labelled_by_fp32(graph)
    monkeypatch.setattr("bench.sensitivity.exams_of", lambda model, variant, framework: (exam,))
    monkeypatch.setattr("bench.sensitivity.check_weights", lambda network, subject: None)
    flags = ("--gate", "0.95", "--metric", "--metric-samples", 200)
    code, found, error = run(capsys, graph, "--feeds", feeds, *flags)
    assert code == 0, error
    assert (found["repair"]["criterion"], found["repair"]["samples"]) == ("share of fp32's top-1", 200)
    assert found["repair"]["kept"] == [BAD]
    by_precision = {each["precision"]: each for each in found["repair"]["candidates"]}
    # a constant answer has about one label of ten right
    assert by_precision["int8"]["reached"] < 0.5
    assert by_precision["int8-mixed"]["reached"] >= 0.95


def test_a_metric_wants_labelled_samples(graph: Path, feeds: Path, capsys: Capture) -> None:
    code, _, error = run(capsys, graph, "--feeds", feeds, "--metric")
    assert code == 2
    assert "--metric: there are no labelled samples for planted" in error
