"""Exams over data sets in a user's folder; the folders are those of test_datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo import catalog, wordpiece
from model_zoo.exam_parts import judged
from model_zoo.image_feeds import ImageFeeds
from model_zoo.spec import Exam, Question, Split, Variant
from runtime.errors import GraphError, UnavailableError, UsageError
from runtime.progress import silent
from runtime.tensors import Array
from tests.model_zoo import dataset_folders

IMAGENET = (
    ("googlenet", ""),
    ("resnet50", ""),
    ("resnet101", ""),
    ("densenet121", ""),
    ("densenet121", "as-shipped"),
    ("densenet121", "aimatrix"),
)
WANTED = (
    ("bert", ""),
    ("bert-base", ""),
    ("ssd", "vgg16"),
    ("ssd", "resnet18-centred"),
    ("dssd", "resnet101"),
    ("faster-rcnn", ""),
    ("crnn", ""),
    ("seglink", "corrected"),
    ("ncf", "one-hot"),
)


def variant_of(model: str, variant: str) -> Variant:
    return catalog.get_variant(catalog.get_model(model), variant)


def exam_of(model: str, variant: str = "") -> Exam:
    (exam,) = variant_of(model, variant).exams
    return exam


def asked(model: str, variant: str, folder: Path | None) -> tuple[Exam, Question]:
    """The only batch."""
    exam = exam_of(model, variant)
    (question,) = exam.questions(folder, silent)
    assert len(question.asked) == len(question.truths)
    return exam, question


@pytest.mark.parametrize(("model", "variant"), WANTED)
def test_an_exam_without_its_data_set_asks_for_it(model: str, variant: str) -> None:
    with pytest.raises(UnavailableError, match="cannot be fetched: give the folder it was unpacked in with"):
        next(exam_of(model, variant).questions(None, silent))


@pytest.mark.parametrize(("model", "variant"), [*WANTED, ("googlenet", "")])
def test_another_folder_is_refused(model: str, variant: str, tmp_path: Path) -> None:
    dataset_folders.cora(tmp_path)
    with pytest.raises(UsageError, match=r"is not |does not hold "):
        next(exam_of(model, variant).questions(tmp_path, silent))


# ImageNet


@pytest.mark.parametrize(("model", "variant"), IMAGENET)
def test_images_are_fed_as_the_first_framework_takes_them(model: str, variant: str, tmp_path: Path) -> None:
    dataset_folders.imagenet(tmp_path)
    exam, question = asked(model, variant, tmp_path)
    taken = variant_of(model, variant)
    feeds = taken.feeds(next(iter(taken.build)))
    assert isinstance(feeds, ImageFeeds)
    expected = next(feeds.batches(1, Split.EVALUATION))
    assert {name: array.shape[1:] for name, array in question.feed.items()} == {
        name: array.shape[1:] for name, array in expected.items()
    }
    scores = np.eye(1000, dtype=np.float32)[question.truths]
    assert judged(exam.metrics, question.truths, exam.answers(question.feed, {"prob": scores})) == {
        "top-1": 1,
        "top-5": 1,
    }
    assert exam.say(scores[0]) == exam.say(question.truths[0])


def test_the_images_are_those_of_the_list_and_are_shown(tmp_path: Path) -> None:
    from model_zoo.datasets import samples

    dataset_folders.imagenet(tmp_path)
    _, question = asked("googlenet", "", tmp_path)
    listed = list(samples("imagenet", tmp_path))
    assert list(question.truths) == [sample.truth for sample in listed]
    for sample, picture in zip(listed, question.pictures, strict=True):
        np.testing.assert_array_equal(picture, np.asarray(sample.raw.open()))


def test_a_classifier_with_axes_of_one_pixel_is_read_and_another_one_is_refused(tmp_path: Path) -> None:
    dataset_folders.imagenet(tmp_path)
    exam, question = asked("densenet121", "", tmp_path)
    assert len(exam.answers(question.feed, {"fc6": np.zeros((3, 1000, 1, 1), np.float32)})) == 3
    with pytest.raises(
        GraphError, match=r"wants one output \[3, 1000\], the graph gives \{'fc': \[3, 10\]\}"
    ):
        exam.answers(question.feed, {"fc": np.zeros((3, 10), np.float32)})


def test_without_a_folder_there_are_20_photographs_whose_classes_are_known() -> None:
    try:
        _, question = asked("resnet50", "", None)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert len(question.truths) == 20
    assert all(
        name.endswith(f"_{label}") for name, label in zip(question.asked, question.truths, strict=True)
    )


# SQuAD


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    """A short paragraph, and one that takes several windows, whose answer is its last word but one."""
    try:
        wordpiece.uncased_vocabulary()
    except UnavailableError as error:
        pytest.skip(str(error))
    contexts = ["Ada met Grace (1843) in London.", "Rain fell. " * 300 + "Then Sun shone."]
    answers = ["Grace (1843)", "Sun"]
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": f"q{number}",
                    "question": "Who?",
                    "answers": [{"text": answer, "answer_start": context.index(answer)}],
                }
            ],
        }
        for number, (context, answer) in enumerate(zip(contexts, answers, strict=True))
    ]
    text = json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]})
    (tmp_path / "dev-v1.1.json").write_text(text, encoding="utf-8")
    return tmp_path


def spans(rows: Array, wanted: list[int]) -> dict[str, Array]:
    """Logits that are high wherever these tokens stand one after the other."""
    starts, ends = np.full(rows.shape, -5, np.float32), np.full(rows.shape, -5, np.float32)
    for row, place in np.argwhere(rows == wanted[0]):
        if rows[row, place : place + len(wanted)].tolist() == wanted:
            starts[row, place], ends[row, place + len(wanted) - 1] = 5, 5
    return {"start_logits": starts, "end_logits": ends}


@pytest.mark.parametrize("model", ["bert", "bert-base"])
def test_an_answer_is_cut_out_of_its_own_text_letter_by_letter(model: str, squad: Path) -> None:
    exam, question = asked(model, "", squad)
    check = variant_of(model, "").check
    assert check is not None
    check(question.feed)
    rows = question.feed["input_ids"]
    assert len(rows) > len(question.truths) == 2
    read = wordpiece.tokenizer(wordpiece.uncased_vocabulary())
    first, second = spans(rows, read("Grace (1843)")), spans(rows, read("Sun"))
    both = {name: np.maximum(first[name], second[name]) for name in first}
    answers = exam.answers(question.feed, both)
    assert list(answers) == ["Grace (1843)", "Sun"]
    assert judged(exam.metrics, question.truths, answers) == {"F1": 1, "exact match": 1}
    assert [exam.say(truth) for truth in question.truths] == list(answers)


def test_windows_of_nan_have_no_answer_and_others_have(squad: Path) -> None:
    exam, question = asked("bert-base", "", squad)
    outputs = {name: np.zeros(question.feed["input_ids"].shape, np.float32) for name in SPAN}
    outputs["end_logits"][0, 0] = np.nan
    first, second = exam.answers(question.feed, outputs)
    assert first is None
    assert isinstance(second, str)


SPAN = ("start_logits", "end_logits")


def test_other_logits_and_a_copied_feed_are_refused(squad: Path) -> None:
    exam, question = asked("bert-base", "", squad)
    with pytest.raises(GraphError, match=r"answers want start_logits and end_logits of \d+ windows"):
        exam.answers(question.feed, {"a": np.zeros(3)})
    with pytest.raises(UsageError, match="give the question's own feed"):
        exam.answers(dict(question.feed), {name: np.zeros(3) for name in SPAN})


# VOC


@pytest.mark.parametrize(("model", "variant"), [("ssd", "vgg16"), ("dssd", "resnet101")])
def test_boxes_in_shares_of_the_image_are_found_in_its_pixels(
    model: str, variant: str, tmp_path: Path
) -> None:
    dataset_folders.voc2007(tmp_path)
    exam, question = asked(model, variant, tmp_path)
    rows = [
        (image, label, 0.9, *(corners / np.tile(truth.size[::-1], 2)))
        for image, truth in enumerate(question.truths)
        for label, corners in zip(truth.labels, truth.corners, strict=True)
    ]
    outputs = {"detection_out": np.array(rows, np.float32).reshape(1, 1, -1, 7)}
    answers = exam.answers(question.feed, outputs)
    for answer, truth in zip(answers, question.truths, strict=True):
        np.testing.assert_allclose(answer.corners, truth.corners, atol=1e-4)
        assert exam.say(answer) == exam.say(truth)
    assert judged(exam.metrics, question.truths, answers) == {"mAP": 1}


def test_boxes_in_pixels_of_the_input_are_found_in_those_of_the_image(tmp_path: Path) -> None:
    """Images of 20x20 fill 600x600 of an input of 600x800: 30 pixels for each, of which the last is in."""
    dataset_folders.voc2007(tmp_path)
    exam = exam_of("faster-rcnn")
    questions = list(exam.questions(tmp_path, silent))
    assert [len(question.truths) for question in questions] == [1, 1]
    for question in questions:
        (truth,) = question.truths
        ends = (truth.corners - (0, 0, 1, 1)) * 30 - (0, 0, 1, 1)
        outputs = {
            "rois": np.c_[np.zeros(len(truth)), ends].astype(np.float32),
            "cls_prob": np.eye(21, dtype=np.float32)[truth.labels],
            "bbox_pred": np.zeros((len(truth), 84), np.float32),
        }
        (answer,) = exam.answers(question.feed, outputs)
        order = np.lexsort(answer.corners.T)
        wanted = truth.corners[np.lexsort(truth.corners.T)]
        np.testing.assert_allclose(
            answer.corners[order], wanted, atol=1 / 30
        )  # its sizes count the last pixel


def test_boxes_of_nan_are_no_answers_and_a_copied_feed_is_refused(tmp_path: Path) -> None:
    dataset_folders.voc2007(tmp_path)
    exam, question = asked("ssd", "vgg16", tmp_path)
    outputs = {"detection_out": np.full((1, 1, 1, 7), np.nan, np.float32)}
    assert exam.answers(question.feed, outputs) == [None, None]
    with pytest.raises(UsageError, match="give the question's own feed"):
        exam.answers(dict(question.feed), outputs)


# ICDAR 2015


def test_text_is_outlined_in_pixels_of_its_photograph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photographs of 20x20 fill an input of 768x1280: a pixel across is 64 wide, one down 38.4 high."""
    from model_zoo.text_boxes import TextBoxes

    dataset_folders.icdar15(tmp_path)
    exam = exam_of("seglink", "corrected")
    first, second = exam.questions(tmp_path, silent)
    assert [len(question.truths) for question in (first, second)] == [2, 1]
    assert first.feed["images"].shape == (2, 768, 1280, 3)
    box = np.array([[6 * 64, 5 * 38.4, 10 * 64, 6 * 38.4, 0]], np.float32)
    monkeypatch.setattr(TextBoxes, "read", lambda task, outputs, samples: [box] * samples)
    answers = [answer for q in (first, second) for answer in exam.answers(q.feed, {})]
    for (outline,), truth in zip(answers, [*first.truths, *second.truths], strict=True):
        np.testing.assert_allclose(outline, truth.outlines[0], atol=1e-4)
        assert exam.say([outline]) == exam.say(truth) == "1 texts"


# Synth90k


def test_words_are_read_by_digits_and_then_letters(tmp_path: Path) -> None:
    dataset_folders.synth90k(tmp_path)
    exam, question = asked("crnn", "", tmp_path)
    assert question.feed["images"].shape == (2, 32, 100, 3)
    assert list(question.truths) == ["lube", "zoo"]
    scores = np.stack([columns("lube"), columns("zo-o")])
    answers: Any = exam.answers(question.feed, {"logits": scores})
    assert list(answers) == ["lube", "zoo"]


def columns(path: str) -> Array:
    """[25, 37] of a path of letters and "-", the blank; blanks behind it."""
    letters = "0123456789abcdefghijklmnopqrstuvwxyz-"
    return np.eye(37, dtype=np.float32)[[letters.index(letter) for letter in path.ljust(25, "-")]]
