"""`bench accuracy` on a small zoo whose labels are known: figures in closed form, gates that can fail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from bench import cli
from bench.accuracy import AccuracyPlan, judge_accuracy
from bench.accuracy_report import failed, kind_of, print_reports, to_html, to_json
from bench.feeds import SyntheticFeeds
from bench.gates import Outcome
from bench.judged import ExamReport, Judged, NotJudged
from bench.measure import Limits
from bench.plan import BenchPlan
from bench.progress import Display
from calibration.precision import Precision
from model_zoo import catalog
from model_zoo.spec import Exam, Labels, ModelSpec, Question, Variant
from model_zoo.tasks import Answering
from runtime.backend import Executed
from runtime.errors import CheckFailed, UnavailableError, UsageError
from runtime.tensors import Array, Feed, TensorSpec
from tests.bench.factories import write_tiny_model

SPECS = (TensorSpec("images", "float32", ("batch", 3, 8, 8)),)
BATCHES, SIZE = 6, 100
FP32 = "fp32 graph on ort, cpu"


class TinySource:
    """A source model that is ONNX all along; `wrong` answers the other way round, as a bad export would."""

    framework = "tensorflow"
    inputs = SPECS
    outputs = (TensorSpec("scores", "float32", ("batch", 4)),)
    warnings = ()
    parameters = 120
    wrong = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def to_onnx(self) -> ir.Model:
        return ir.load(self._path)

    def run(self, feed: Feed) -> dict[str, Array]:
        (scores,) = ReferenceEvaluator(str(self._path)).run(None, dict(feed))
        return {"scores": -np.asarray(scores) if self.wrong else np.asarray(scores)}


class BestScore(Answering):
    name = "classification"
    agreement = "top-1 agreement"

    def answers(self, outputs: Mapping[str, Array]) -> Array:
        return np.asarray(outputs["scores"].argmax(axis=1))[:, np.newaxis]


def _feeds() -> Iterator[Feed]:
    for index in range(BATCHES):
        generator = np.random.default_rng(index)
        yield {"images": generator.normal(size=(SIZE, 3, 8, 8)).astype(np.float32)}


def _exam(path: Path, noise: float = 0.1) -> Exam:
    """Labels are the network's own FP32 answers, but for a known share that is labelled otherwise."""

    def questions(folder: Path | None, progress: object) -> Iterator[Question]:
        source = TinySource(path)
        for index, feed in enumerate(_feeds()):
            truths = source.run(feed)["scores"].argmax(axis=1)
            truths[: round(noise * SIZE)] = (truths[: round(noise * SIZE)] + 1) % 4
            names = [f"sample {index}.{place}" for place in range(SIZE)]
            pictures = [np.full((2, 2, 3), 7, np.uint8)] * SIZE
            yield Question(feed, [int(truth) for truth in truths], names, pictures)

    def answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[Any]:
        return list(outputs["scores"])

    return Exam("made up", Labels.COMPOSED, ("top-1", "top-5"), questions, answers, _say)


def _say(answer: Any) -> str:
    return f"class {int(np.argmax(answer)) if np.ndim(answer) else int(answer)}"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts the model `tiny` into the zoo; the path of its graph."""
    path = write_tiny_model(tmp_path / "source.onnx")
    network = Variant(
        "tiny network",
        {"tensorflow": lambda weights: TinySource(path)},
        {},
        lambda framework: SyntheticFeeds(SPECS, seed=0),
        BestScore(),
        trained="by hand",
        exams=(_exam(path),),
    )
    spec = ModelSpec("tiny", "tiny", None, {"": network, "bare": replace(network, exams=()),
                                           "seeded": replace(network, trained="")})  # fmt: skip
    monkeypatch.setattr(catalog, "MODELS", {"tiny": lambda: spec})
    monkeypatch.setattr(catalog, "source_digest", lambda: "0" * 64)
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    return path


PLAN = AccuracyPlan(
    BenchPlan("ort", ("tiny",), precisions=(Precision.FP32, Precision.FP16), limits=Limits()),
    ("ort", "reference"),
)


def reports(plan: AccuracyPlan, tmp_path: Path) -> list[ExamReport]:
    return list(judge_accuracy(plan, tmp_path / "home", Display()))


@pytest.mark.usefixtures("tiny")
def test_every_precision_on_every_backend_is_judged_by_the_labels(tmp_path: Path) -> None:
    (report,) = reports(PLAN, tmp_path)
    assert (report.samples, report.labels, report.reference) == (
        600,
        Labels.COMPOSED,
        "fp32 graph on ort, cpu",
    )
    assert [(row.precision, row.backend) for row in report.rows] == [
        ("fp32", "ort"),
        ("fp16", "ort"),
        ("fp32", "reference"),
        ("fp16", "reference"),
    ]
    first, *others = report.rows
    assert isinstance(first, Judged)
    assert first.verdict is None
    assert first.scores == {"top-1": 0.9, "top-5": 1.0}  # a tenth is labelled otherwise; four classes
    for row in others:
        assert isinstance(row, Judged)
        assert row.verdict is not None
        assert row.verdict.baseline == 0.9
        assert row.verdict.outcome is Outcome.PASS
    assert not failed([report])


@pytest.mark.usefixtures("tiny")
def test_samples_can_be_fewer_in_whole_batches(tmp_path: Path) -> None:
    (report,) = reports(replace(PLAN, samples=SIZE + 1), tmp_path)
    assert report.samples == 2 * SIZE
    row = report.rows[1]
    assert isinstance(row, Judged)
    assert row.verdict is not None
    assert row.verdict.outcome is Outcome.TOO_FEW
    assert (row.verdict.needed or 0) > 2 * SIZE


def test_answers_that_are_nothing_fail_and_the_worst_samples_are_shown(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A precision whose graph gives zeros: the gate fails, and what was right is among the lost."""
    from bench.opened import Opened

    real = Opened.run

    def zeros(opened: Opened, feed: Feed) -> dict[str, Array]:
        outputs = real(opened, feed)
        half = opened.executed().macs_by_type.get("float16") or _is_half(opened)
        return {name: np.zeros_like(array) for name, array in outputs.items()} if half else outputs

    def _is_half(opened: Opened) -> bool:
        nodes = opened.session._model.graph  # type: ignore[attr-defined]
        return any(node.op_type == "Cast" for node in nodes)

    monkeypatch.setattr(Opened, "run", zeros)
    (report,) = reports(replace(PLAN, backends=("ort",), worst=3), tmp_path)
    row = report.rows[1]
    assert isinstance(row, Judged)
    assert row.verdict is not None
    assert row.verdict.outcome is Outcome.FAIL
    assert failed([report])
    assert row.changed == 600
    assert len(row.worst) == 3
    for each in row.worst:
        assert each.lost == 1.0
        assert each.before == each.truth != each.after == "class 0"
    page = to_html([report])
    assert page.count("data:image/png;base64,") == 3
    assert 'class="fail"' in page


@pytest.mark.usefixtures("tiny")
def test_the_framework_is_asked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(PLAN, backends=("ort",), framework_too=True)
    (report,) = reports(plan, tmp_path)
    assert report.framework == 0
    monkeypatch.setattr(TinySource, "wrong", True)
    (report,) = reports(plan, tmp_path)
    assert report.framework == 600


@pytest.mark.usefixtures("tiny")
def test_without_labels_it_is_fidelity_and_called_so(tmp_path: Path) -> None:
    network = replace(PLAN.network, variant="bare")
    (report,) = reports(replace(PLAN, network=network, samples=400), tmp_path)
    assert report.labels == ""
    assert kind_of(report) == "fidelity, not accuracy: no labels are at hand"
    row = report.rows[1]
    assert isinstance(row, Judged)
    assert row.scores == {"top-1 agreement": pytest.approx(1.0, abs=0.01)}
    assert json.loads(to_json([report]))[0]["kind"].startswith("fidelity")


@pytest.mark.usefixtures("tiny")
def test_seeded_weights_are_judged_by_fidelity_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = replace(PLAN, network=replace(PLAN.network, variant="seeded"), samples=8, backends=("ort",))
    (report,) = reports(plan, tmp_path)
    assert report.labels == ""
    assert "has seeded weights, which know nothing: give --weights" in capsys.readouterr().err
    with pytest.raises(UsageError, match="seeded weights, which know nothing: give trained ones"):
        reports(replace(plan, data=tmp_path), tmp_path)


def test_an_exam_is_for_the_frameworks_whose_feeds_it_has(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_exam(monkeypatch, replace(_exam(tiny), frameworks=("caffe",)))
    (report,) = reports(replace(PLAN, samples=8, backends=("ort",)), tmp_path)
    assert report.labels == ""
    with pytest.raises(UsageError, match="is judged on no data set; leave it out for fidelity"):
        reports(replace(PLAN, data=tmp_path), tmp_path)


def test_where_no_data_set_is_given_it_is_fidelity_and_with_an_empty_one_an_error(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _with_exam(monkeypatch, replace(_exam(tiny), questions=lambda folder, progress: iter(())))
    (report,) = reports(replace(PLAN, samples=8, backends=("ort",)), tmp_path)
    assert report.labels == ""
    assert "made up: there is no sample; give a data set with --data" in capsys.readouterr().err
    with pytest.raises(UnavailableError, match="made up: there is no sample"):
        reports(replace(PLAN, data=tmp_path), tmp_path)


@pytest.mark.usefixtures("tiny")
def test_what_cannot_be_judged_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    network = replace(PLAN.network, precisions=(Precision.BF16, Precision.FP16))
    (report,) = reports(replace(PLAN, network=network, backends=("ort",)), tmp_path)
    first, second = report.rows
    assert isinstance(first, NotJudged)
    assert "another precision or backend" in str(first.error)
    assert isinstance(second, Judged)


def test_an_answer_too_few_is_no_silent_loss(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_exam(monkeypatch, replace(_exam(tiny), answers=lambda feed, outputs: list(outputs["scores"])[1:]))
    with pytest.raises(CheckFailed, match="100 samples were asked, 99 answers came"):
        reports(PLAN, tmp_path)


def _with_exam(monkeypatch: pytest.MonkeyPatch, exam: Exam) -> None:
    spec = catalog.get_model("tiny")
    changed = replace(spec, variants={"": replace(spec.variants[""], exams=(exam,))})
    monkeypatch.setattr(catalog, "MODELS", {"tiny": lambda: changed})


@pytest.mark.usefixtures("tiny")
def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    flags = ("accuracy", "--model", "tiny", "--precision", "fp32", "--precision", "fp16", "--in-process")
    assert cli.main([*flags, "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert "tiny (tensorflow), weights by hand: accuracy on a composition of real pieces" in out
    assert "600 samples: made up" in out
    assert "pass 0.99" in out
    assert "<h1>tiny (tensorflow)</h1>" in page.read_text(encoding="utf-8")
    assert cli.main([*flags, "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["rows"][1]["verdict"]["outcome"] == "pass"
    assert document["rows"][1]["scores"]["top-1"] == pytest.approx(0.9, abs=0.01)


def test_a_table_is_not_wider_than_asked(tiny: Path, tmp_path: Path) -> None:
    import io

    stream = io.StringIO()
    print_reports(reports(PLAN, tmp_path), stream, 100)
    assert max(map(len, stream.getvalue().splitlines())) <= 100


@pytest.mark.usefixtures("tiny")
def test_fidelity_is_of_what_executed_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lie = Executed(1.0, {"float32": 1.0}, (), None, "its word")
    monkeypatch.setattr("bench.opened.Opened.executed", lambda opened: lie)
    network = replace(PLAN.network, variant="bare", precisions=(Precision.INT8,))
    (report,) = reports(replace(PLAN, network=network, backends=("ort",), samples=8), tmp_path)
    (row,) = report.rows
    assert isinstance(row, NotJudged)
    assert "INT8 is emulated" in str(row.error)
