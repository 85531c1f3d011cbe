"""Exams and lessons: the FP32 graph of a taught network has what its lesson has on the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from model_zoo.exam_parts import judged
from model_zoo.spec import Variant
from model_zoo.training import weights_of, write_arrays
from runtime.progress import silent
from runtime.tensors import Array, Feed
from tests.model_zoo.exam_cases import asked, rows_of, truths_of, variant_of

TOLERANCE = 2e-4
"""A score that lies on a border, or two within a rounding of each other: of 1000 samples less than one."""


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("model", "variant"),
    [
        ("ncf", "movielens-100k"),
        ("din", "movielens-100k"),
        ("dien", "movielens-100k"),
        ("wide-deep", ""),
        ("gcn", "cora-edges"),
        ("nmt", "cmudict"),
    ],
)
def test_the_graph_answers_as_the_lesson_is_scored(model: str, variant: str, tmp_path: Path) -> None:
    """After a part of an epoch: a network that knows something, and is wrong often enough to tell."""
    exam, questions = asked(model, variant)
    taught = variant_of(model, variant)
    assert taught.training is not None
    lesson = taught.training.lesson(0, silent)
    for step, _ in enumerate(lesson.epoch(0)):
        if step == 200:
            break
    write_arrays(tmp_path / "weights.npz", weights_of(lesson))
    run = graph_of(taught, tmp_path, next(iter(questions)).feed)
    answers = [answer for q in questions for answer in exam.answers(q.feed, run(q.feed))]
    found = judged(exam.metrics, truths_of(questions), answers)
    for name, value in lesson.scores().items():
        if name != "AUC of the films' mean":
            assert found["CER" if name == "PER" else name] == pytest.approx(value, abs=TOLERANCE), name


@pytest.mark.heavy
def test_the_head_tells_reviews_as_published() -> None:
    """DATA.md C: .88 by a head of the same kind on other reviews of the set."""
    exam, questions = asked("bert", "minilm")
    source = variant_of("bert", "minilm").build["tensorflow"](None)
    answers = [answer for q in questions for answer in exam.answers(q.feed, source.run(q.feed))]
    assert judged(exam.metrics, truths_of(questions), answers)["AUC"] == pytest.approx(0.88, abs=0.03)


def graph_of(taught: Variant, folder: Path, feed: Feed) -> Any:
    """Runs the variant's FP32 graph with the weights in a folder."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from exporters.export import export

    source = taught.build["tensorflow"](folder / "weights.npz")
    singles = [{name: array[row : row + 1] for name, array in feed.items()} for row in range(2)]
    export(source, folder / "fp32.onnx", singles[: rows_of(feed)])
    session = onnxruntime.InferenceSession(folder / "fp32.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(asked_feed: Feed) -> Mapping[str, Array]:
        return dict(zip(names, session.run(names, dict(asked_feed)), strict=True))

    return run
