"""A model of a small zoo from its source to its record, with ONNX's evaluator as the framework."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from bench import pipeline
from bench.feeds import SyntheticFeeds
from bench.measure import Limits
from bench.pipeline import Failure
from bench.plan import BenchPlan, CalibrationPlan
from bench.progress import Display
from bench.record import Record
from bench.subject import find_subject, weights_digest
from calibration.precision import Precision
from model_zoo import catalog
from model_zoo.spec import ModelSpec, Variant
from model_zoo.tasks import Answering
from runtime.backend import Executed
from runtime.errors import CheckFailed, ExportError, UsageError
from runtime.reference import ReferenceSession
from runtime.tensors import Array, Feed, TensorSpec
from tests.bench.factories import write_tiny_model

SPECS = (TensorSpec("images", "float32", ("batch", 3, 8, 8)),)
QUICK = Limits(duration_ns=1_000_000, min_queries=3, max_duration_ns=1_000_000, window_ns=1, window_queries=1)


class TinySource:
    """A source model that is ONNX all along."""

    framework = "tensorflow"
    inputs = SPECS
    outputs = (TensorSpec("scores", "float32", ("batch", 4)),)
    warnings = ("line 3: layer 'conv' has a field 'colour' that is not Caffe's; left out",)
    parameters = 120  # 8 more than the graph has, as where batch normalisation is folded away

    def __init__(self, path: Path) -> None:
        self._path = path

    def to_onnx(self) -> ir.Model:
        return ir.load(self._path)

    def run(self, feed: Feed) -> dict[str, Array]:
        (scores,) = ReferenceEvaluator(str(self._path)).run(None, dict(feed))
        return {"scores": np.asarray(scores)}


class BestScore(Answering):
    name = "classification"
    agreement = "top-1 agreement"

    def answers(self, outputs: Mapping[str, Array]) -> Array:
        return np.asarray(outputs["scores"].argmax(axis=1))[:, np.newaxis]


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """Puts the model `tiny` into the zoo; holds the weights of every time it was built."""
    built: list[Path | None] = []
    path = write_tiny_model(tmp_path / "source.onnx")

    def build(weights: Path | None) -> TinySource:
        built.append(weights)
        if weights is not None and weights.suffix == ".bad":
            raise ExportError(f"{weights} has no weight 'conv'")
        return TinySource(path)

    network = Variant(
        "tiny network",
        {"tensorflow": build},
        {},
        lambda framework: SyntheticFeeds(SPECS, seed=0),
        BestScore(),
    )
    spec = ModelSpec("tiny", "Tiny", None, {"": network})
    monkeypatch.setattr(catalog, "MODELS", {"tiny": lambda: spec})
    return built


PLAN = BenchPlan(
    "reference",
    ("tiny",),
    precisions=(Precision.FP32, Precision.FP16),
    evaluation_samples=6,
    calibration=CalibrationPlan(samples=3),
    limits=QUICK,
)


def outcomes(plan: BenchPlan, home: Path) -> list[Record | Failure]:
    return list(pipeline.run(plan, home, Display()))


def records(plan: BenchPlan, home: Path) -> list[Record]:
    found = outcomes(plan, home)
    assert all(isinstance(outcome, Record) for outcome in found), found
    return [outcome for outcome in found if isinstance(outcome, Record)]


def test_a_record_counts_the_parameters_of_the_source_at_every_precision(
    tmp_path: Path, builds: list[Path | None]
) -> None:
    found = [record.graph.parameters for record in records(PLAN, tmp_path)]
    assert found == [TinySource.parameters] * 2


def test_what_an_export_leaves_out_is_told(
    tmp_path: Path, builds: list[Path | None], capsys: pytest.CaptureFixture[str]
) -> None:
    records(PLAN, tmp_path)
    assert "warning: tiny (tensorflow): line 3: layer 'conv' has a field 'colour'" in capsys.readouterr().err


def test_a_model_is_exported_converted_measured_and_judged(tmp_path: Path, builds: list[Path | None]) -> None:
    fp32, fp16 = records(PLAN, tmp_path)
    assert (fp32.model, fp32.framework, fp32.precision) == ("tiny", "tensorflow", "fp32")
    for record in (fp32, fp16):
        assert record.accuracy is not None
        assert record.accuracy.reference == "fp32 graph on ort, cpu"
    assert fp32.accuracy is not None
    assert fp16.accuracy is not None
    assert (fp32.accuracy.sqnr_db or math.inf) > 100 > (fp16.accuracy.sqnr_db or math.inf)
    assert (fp16.accuracy.samples, fp16.accuracy.agreement) == (6, 1.0)
    assert fp16.graph.fp32_sha256 == fp32.graph.sha256
    assert fp16.graph.macs == fp32.graph.macs == 4 * 8 * 8 * 27
    assert builds == [None]


def test_a_second_run_builds_nothing(tmp_path: Path, builds: list[Path | None]) -> None:
    first, second = records(PLAN, tmp_path), records(PLAN, tmp_path)
    assert [each.graph for each in first] == [each.graph for each in second]
    assert builds == [None]


def test_the_same_graph_is_exported_from_another_store(tmp_path: Path, builds: list[Path | None]) -> None:
    one, two = (records(PLAN, tmp_path / name)[0].graph.sha256 for name in ("one", "two"))
    assert one == two
    assert len(builds) == 2


def test_other_weights_are_another_graph_in_the_store(tmp_path: Path, builds: list[Path | None]) -> None:
    weights = tmp_path / "weights.npz"
    weights.write_bytes(b"some")
    records(PLAN, tmp_path)
    (fp32, _) = records(replace(PLAN, weights=weights), tmp_path)
    assert fp32.options.weights_sha256 == weights_digest(weights)
    assert builds == [None, weights]


def test_a_source_that_cannot_be_built_fails_once_for_all_precisions(
    tmp_path: Path, builds: list[Path | None]
) -> None:
    weights = tmp_path / "weights.bad"
    weights.write_bytes(b"")
    (failure,) = outcomes(replace(PLAN, weights=weights), tmp_path)
    assert isinstance(failure, Failure)
    assert failure.what == "tiny (tensorflow)"
    assert "has no weight 'conv'" in str(failure.error)
    assert builds == [weights]


def test_agreement_is_judged_at_every_batch_size(tmp_path: Path, builds: list[Path | None]) -> None:
    found = records(replace(PLAN, batch_sizes=(1, 4)), tmp_path)
    assert [(each.precision, each.batch_size, each.accuracy and each.accuracy.samples) for each in found] == [
        ("fp32", 1, 6),
        ("fp32", 4, 8),  # whole batches
        ("fp16", 1, 6),
        ("fp16", 4, 8),
    ]
    assert len(builds) == 1


def test_no_agreement_is_judged_on_no_samples(tmp_path: Path, builds: list[Path | None]) -> None:
    assert [each.accuracy for each in records(replace(PLAN, evaluation_samples=0), tmp_path)] == [None, None]
    assert builds == [None]


@pytest.mark.usefixtures("builds")
def test_a_session_that_did_something_else_is_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Executed(1.0, {"bfloat16": 1.0}, (), None, "a lie")
    monkeypatch.setattr(ReferenceSession, "executed", lambda session: other)
    plan = replace(PLAN, precisions=(Precision.FP32,))
    (failure,) = outcomes(plan, tmp_path)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, CheckFailed)
    assert "an FP32 run executed as bfloat16 100.0%" in str(failure.error)
    (record,) = records(replace(plan, allow_emulation=True), tmp_path)
    assert "executed-as-other-type" in {warning.kind for warning in record.warnings}


@pytest.mark.usefixtures("builds")
def test_your_own_samples_need_a_model_that_can_take_them() -> None:
    plan = replace(PLAN, data=Path("photographs"))
    subject = find_subject(plan, "tiny", None)
    with pytest.raises(UsageError, match="--data photographs: tiny network takes no samples from files"):
        subject.feeds(SPECS)


def test_the_digest_of_weights_covers_every_file_of_a_checkpoint(tmp_path: Path) -> None:
    for name in ("model.index", "model.data-00000-of-00001", "other.index"):
        (tmp_path / name).write_text(name)
    prefix, index = weights_digest(tmp_path / "model"), weights_digest(tmp_path / "model.index")
    assert prefix == index
    (tmp_path / "model.data-00000-of-00001").write_text("changed")
    assert weights_digest(tmp_path / "model") != prefix
    assert weights_digest(tmp_path) != prefix


def test_weights_that_are_not_there_are_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file, folder or checkpoint prefix"):
        weights_digest(tmp_path / "none")
