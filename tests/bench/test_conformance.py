"""Backends that crash, hang, lie and refuse are each caught and named, and the run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from bench import cli
from bench.artefacts import Artefacts
from bench.conformance import ConformancePlan, check_conformance
from bench.conformance_cases import load_cases
from bench.conformance_graphs import GraphPlan, find_subjects, run_graphs
from bench.conformance_operators import run_cases
from bench.conformance_outcome import Outcome, Verdict
from bench.conformance_report import to_json
from bench.conformance_run import misattested
from bench.plan import CalibrationPlan
from bench.progress import Display
from calibration.precision import Precision
from model_zoo import catalog
from runtime.backend import Backend, Executed
from runtime.backends import BACKENDS
from runtime.errors import UsageError
from runtime.ort import OnnxRuntimeBackend
from runtime.progress import silent
from tests.bench import conformance_backends as planted
from tests.calibration import tiny
from tests.planted_backends import abort, hang, raise_something
from tests.planted_backends import planted as misbehaving

T = TypeVar("T")
Capture = pytest.CaptureFixture[str]
TWO = ("test_abs", "test_relu")


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return tiny.residual_cnn(tmp_path)


def _cases(backend: Backend, *names: str, seconds: float = 60) -> dict[str, Outcome]:
    return {each.case: each for each in run_cases(backend, "cpu", load_cases(names=names), seconds, silent)}


def _graphs(backend: Backend, graph: Path, *precisions: Precision) -> list[Outcome]:
    plan = GraphPlan(backend, "cpu", (str(graph),), precisions, 60)
    home = graph.parent / "home"
    return list(run_graphs(plan, find_subjects(plan), home, Display()))


def test_a_crash_is_named_with_its_signal_and_last_words_and_the_next_case_runs() -> None:
    outcomes = _cases(misbehaving(opening=abort), *TWO)
    assert [each.verdict for each in outcomes.values()] == [Verdict.CRASHED] * 2
    for each in outcomes.values():
        assert "crashed (SIGABRT)" in each.said
        assert "kernel panic: tile 7 is on fire" in each.said


def test_an_error_that_the_contract_does_not_know_is_a_crash() -> None:
    outcome = _cases(misbehaving(running=raise_something), "test_abs")["test_abs"]
    assert outcome.verdict is Verdict.CRASHED
    assert "RuntimeError: vendor error 17" in outcome.said


def test_a_hang_is_ended_and_the_next_case_runs() -> None:
    outcomes = _cases(misbehaving(running=hang), *TWO, seconds=2)
    assert [each.verdict for each in outcomes.values()] == [Verdict.TIMED_OUT] * 2
    assert all("no answer within 2 s" in each.said for each in outcomes.values())


def test_a_refusal_is_told_and_the_other_case_passes() -> None:
    outcomes = _cases(planted.Planted(refuses="relu"), *TWO)
    assert outcomes["test_abs"].verdict is Verdict.PASS
    assert outcomes["test_relu"].verdict is Verdict.UNSUPPORTED
    assert outcomes["test_relu"].said == "planted has no kernel for test_relu.onnx; use another backend"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (planted.as_zeros, "; all of these are zero"),
        (planted.as_one_number, "; all of these are the same"),
        (planted.with_a_nan, "has nan where"),
        (planted.a_tenth_off, "where"),
    ],
)
def test_wrong_values_of_an_operator_are_caught(change: planted.Change, said: str) -> None:
    outcome = _cases(planted.Planted(change=change), "test_exp")["test_exp"]
    assert outcome.verdict is Verdict.WRONG
    assert said in outcome.said


def test_what_is_no_attestation_is_wrong() -> None:
    outcome = _cases(planted.Planted(shares={"float32": 0.7}), "test_matmul_2d")["test_matmul_2d"]
    assert (outcome.verdict, outcome.said) == (
        Verdict.WRONG,
        "the shares it attests add up to 0.7, not to 1",
    )


@pytest.mark.parametrize(
    ("device", "shares", "said"),
    [
        (1.0, {"int8": 0.4, "float32": 0.6}, None),
        (1.0, {}, None),
        (1.5, {}, "it attests a share of 1.5, shares are 0 to 1"),
        (1.0, {"int8": -0.2, "float32": 1.2}, "it attests a share of -0.2, shares are 0 to 1"),
    ],
)
def test_shares_are_of_a_whole(device: float, shares: Mapping[str, float], said: str | None) -> None:
    assert misattested(Executed(device, shares, (), None, "")) == said


def test_an_honest_backend_passes_at_every_precision_it_has_kernels_for(graph: Path) -> None:
    outcomes = {each.case: each for each in _graphs(OnnxRuntimeBackend(), graph)}
    verdicts = {name.rpartition(" ")[2]: each.verdict for name, each in outcomes.items()}
    assert verdicts.pop("bf16") is Verdict.UNSUPPORTED  # the CPU provider has no BF16 convolution
    assert verdicts.pop("int4") is Verdict.NOT_APPLICABLE  # it has no matrix product
    assert verdicts == dict.fromkeys(["fp32", "fp16", "int8", "fp8"], Verdict.PASS)
    assert outcomes["cnn (onnx) int8"].ran_as == {"int8": 1.0}


def test_fp32_that_is_called_int8_is_caught(graph: Path) -> None:
    (outcome,) = _graphs(planted.Planted(instead=graph, shares={"int8": 1.0}), graph, Precision.INT8)
    assert outcome.verdict is Verdict.WRONG
    assert "is nearer to the fp32 file's outputs" in outcome.said
    assert outcome.said.endswith("the precision was left out")


def test_a_lower_precision_that_is_called_fp32_is_caught(graph: Path, tmp_path: Path) -> None:
    plan = GraphPlan(OnnxRuntimeBackend(), "cpu", (str(graph),), (), 60)
    (subject,) = find_subjects(plan)
    int8 = Artefacts(subject, tmp_path / "home", CalibrationPlan(), Display()).at(Precision.INT8).path
    (outcome,) = _graphs(planted.Planted(instead=int8, shares={"float32": 1.0}), graph, Precision.FP32)
    assert outcome.verdict is Verdict.WRONG
    assert "from this fp32 file's exact outputs" in outcome.said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (planted.as_zeros, "is all zero"),
        (planted.as_one_number, "is 7 everywhere"),
        (planted.with_a_nan, "NaN or infinite values"),
    ],
)
def test_outputs_that_no_rounding_explains_are_caught(graph: Path, change: planted.Change, said: str) -> None:
    outcomes = _graphs(planted.Planted(change=change), graph, Precision.FP32, Precision.INT8)
    assert [each.verdict for each in outcomes] == [Verdict.WRONG] * 2
    assert all(said in each.said for each in outcomes)


def test_a_graph_that_crashes_a_backend_leaves_the_others(graph: Path) -> None:
    outcomes = _graphs(misbehaving(opening=abort), graph, Precision.FP32, Precision.FP16)
    assert [each.verdict for each in outcomes] == [Verdict.CRASHED] * 2


def _run(*flags: object) -> int:
    return cli.main(["conformance", *map(str, flags)])


def _plant(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    monkeypatch.setitem(BACKENDS, "planted", lambda: backend)


ONLY_TWO = ("--no-models", "--only", "test_abs", "--only", "test_relu")


def test_what_passes_and_what_is_refused_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _plant(monkeypatch, planted.Planted(refuses="relu"))
    assert _run("--backend", "planted", *ONLY_TWO, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["score"]["cases"] == {"passed": 1, "applicable": 2, "share": 0.5}
    assert [each["verdict"] for each in document["cases"]] == ["pass", "unsupported"]


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        (planted.Planted(change=planted.as_zeros), "2 wrong of 2 cases"),
        (misbehaving(opening=abort), "2 crashed of 2 cases"),
    ],
)
def test_what_is_wrong_or_crashes_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, backend: Backend, told: str
) -> None:
    _plant(monkeypatch, backend)
    assert _run("--backend", "planted", *ONLY_TWO) == 1
    assert f"is not conformant: {told}" in capsys.readouterr().err


TABLE = """\
planted: planted 1 on cpu (answers wrongly)
cases of operators (onnx VERSION): 1 of 3 (33.3%) pass; operators of which any does: 1 of 3 (33.3%)

 operator   opset   pass   wrong   unsupported   crashed   timed out   not applicable
 ────────────────────────────────────────────────────────────────────────────────────
 IsNaN         20      -       -             -         -           -                1
 MatMul        13      -       1             -         -           -                -
 Relu          14      -       -             1         -           -                -

 all                   1       1             1         -           -                1

every case passes: Abs 13
wrong: test_matmul_2d: the shares it attests add up to 0.7, not to 1
not applicable: 1 case: its feed holds NaN or infinity, which a session refuses
"""


def test_the_table_has_a_row_for_what_does_not_pass(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from bench.environment import package_version

    _plant(monkeypatch, planted.Planted(refuses="relu", shares={"float32": 0.7}))
    only = ("--only", "test_isnan", "--only", "test_matmul_2d")
    assert _run("--backend", "planted", *ONLY_TWO, *only) == 1
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == TABLE.replace("VERSION", package_version("onnx") or "").splitlines()


def test_every_case_is_written_to_a_file(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "conformance.json"
    assert _run("--backend", "ort", *ONLY_TWO, "--out", out) == 0
    document = json.loads(out.read_text())
    assert {each["name"] for each in document["cases"]} == {"test_abs", "test_relu"}
    assert document["operators"][0] == {
        "operator": "Abs",
        "opset": 13,
        "pass": 1,
        "wrong": 0,
        "unsupported": 0,
        "crashed": 0,
        "timed_out": 0,
        "not_applicable": 0,
    }
    assert f"saved {out}" in capsys.readouterr().err


def test_a_graph_is_a_row_with_its_error_and_what_it_ran_as(graph: Path, capsys: Capture) -> None:
    flags = ("--no-operators", "--models", graph, "--precision", "fp32", "--precision", "int8")
    assert _run("--backend", "ort", *flags) == 0
    out = capsys.readouterr().out
    assert "graphs: 2 of 2 (100.0%) pass" in out
    rows = [line.split() for line in out.splitlines() if line.startswith(" cnn (onnx)")]
    assert [row[2] for row in rows] == ["fp32", "int8"]
    assert [row[-2:] for row in rows] == [["float32", "100%"], ["int8", "100%"]]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--backend", "orr"), "unknown backend 'orr': did you mean ort"),
        (("--backend", "ort", "--device", "npu"), "unknown device of ort 'npu'"),
        (("--backend", "ort", "--operators", "Convv"), "unknown operator 'Convv': did you mean Conv"),
        (("--backend", "ort", "--no-models", "--models", "bert"), "--no-models and --models bert are two"),
        (("--backend", "ort", "--no-operators", "--no-models"), "leave nothing to run"),
        (("--backend", "ort", "--models", "bertt"), "unknown model 'bertt': did you mean bert"),
        (("--backend", "ort", "--models", "absent.onnx"), "--model absent.onnx: no such file"),
        (("--backend", "ort", "--models", "bert:tinny"), "unknown variant of bert 'tinny'"),
    ],
)
def test_a_mistake_is_told_in_a_line_and_ends_with_2(
    flags: tuple[str, ...], complaint: str, capsys: Capture
) -> None:
    assert _run(*flags) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert complaint in error


def test_a_choice_of_operators_needs_them() -> None:
    with pytest.raises(UsageError, match="--no-operators leaves out what --operators and --only choose from"):
        ConformancePlan(backend="ort", with_operators=False, only=("test_abs",))


def test_a_model_means_all_its_variants_in_all_frameworks() -> None:
    def found(model: str) -> list[str]:
        plan = GraphPlan(OnnxRuntimeBackend(), "cpu", (model,), (), 60)
        return [subject.title for subject in find_subjects(plan)]

    variants = catalog.get_model("resnet50").variants.values()
    assert len(found("resnet50")) == sum(len(variant.build) for variant in variants)
    assert {"resnet50 (tensorflow)", "resnet50 (caffe)"} <= set(found("resnet50"))
    assert found("ncf:gather") == ["ncf-gather (tensorflow)"]
    assert found("resnet50:") == ["resnet50 (tensorflow)", "resnet50 (caffe)"]


class _Interrupted(Display):
    """Ctrl-C comes when the second item is asked for."""

    def __call__(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        yield next(iter(items))
        raise KeyboardInterrupt


def test_what_was_found_before_an_interruption_is_kept(tmp_path: Path) -> None:
    plan = ConformancePlan(backend="ort", only=TWO, models=None)
    found = check_conformance(plan, tmp_path, _Interrupted())
    assert not found.complete
    assert [each.case for each in found.outcomes] == ["test_abs"]
    assert json.loads(to_json(found))["complete"] is False


def test_an_interrupted_command_says_so_and_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("bench.progress.Display", _Interrupted)
    assert _run("--backend", "ort", *ONLY_TWO) == cli.INTERRUPTED
    told = capsys.readouterr()
    assert "interrupted: what follows is of the cases until then\n" in told.out
    assert "1 of 1 (100.0%) pass" in told.out
