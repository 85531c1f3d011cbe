"""COCO's images as questions: what the networks see of them, and what their answers mean in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_zoo import catalog
from model_zoo.coco_persons_exam import person_frame
from model_zoo.cpn_layers import HEATMAPS
from model_zoo.exam_parts import judged
from model_zoo.framing import Frame
from model_zoo.metrics.objects import TrueObjects
from model_zoo.spec import Exam, Question
from runtime.errors import GraphError, UnavailableError, UsageError
from runtime.progress import silent
from runtime.tensors import Array
from tests.model_zoo import dataset_folders

PIXEL = 40
"""Of the 20x20 images of the folder: 800x800 in the middle of 1024x1024, 112 from its edges."""

BORDER = 112


def exam_of(model: str) -> Exam:
    (exam,) = catalog.get_variant(catalog.get_model(model), "").exams
    return exam


@pytest.mark.parametrize("model", ["mask-rcnn", "cpn"])
def test_an_exam_without_its_data_set_asks_for_it(model: str) -> None:
    with pytest.raises(UnavailableError, match="cannot be fetched: give the folder it was unpacked in with"):
        next(exam_of(model).questions(None, silent))


@pytest.mark.parametrize("model", ["mask-rcnn", "cpn"])
def test_another_folder_is_refused(model: str, tmp_path: Path) -> None:
    dataset_folders.cora(tmp_path)
    with pytest.raises(UsageError, match=r"is not |does not hold "):
        next(exam_of(model).questions(tmp_path, silent))


# Instances


def outputs_of(truth: TrueObjects) -> dict[str, Array]:
    """What a network gives that finds every object whole, as Matterport has boxes: y, x, y, x over 1023."""
    edges = truth.corners * PIXEL + BORDER - (0, 0, 1, 1)
    corners = (edges / 1023)[:, [1, 0, 3, 2]]
    count = len(truth)
    boxes, scores, classes = np.zeros((1, 100, 4)), np.zeros((1, 100)), np.zeros((1, 100))
    boxes[0, :count], scores[0, :count], classes[0, :count] = corners, 0.9, truth.labels
    arrays = {
        "boxes": boxes,
        "scores": scores,
        "classes": classes,
        "masks": np.ones((1, 100, 28, 28)),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def test_boxes_and_masks_are_found_in_pixels_of_the_photograph(tmp_path: Path) -> None:
    dataset_folders.coco(tmp_path)
    exam = exam_of("mask-rcnn")
    truths, answers = [], []
    for question in exam.questions(tmp_path, silent):
        (truth,) = question.truths
        assert {name: array.shape for name, array in question.feed.items()} == {
            "images": (1, 1024, 1024, 3),
            "window": (1, 4),
        }
        (answer,) = exam.answers(question.feed, outputs_of(truth))
        np.testing.assert_allclose(answer.corners, np.rint(truth.corners))
        assert exam.say(answer) == exam.say(truth)
        for (left, top, right, bottom), mask in zip(answer.corners.astype(int), answer.masks, strict=True):
            assert mask.shape == (20, 20)
            assert mask.sum() == mask[top:bottom, left:right].sum() == (right - left) * (bottom - top)
        truths.append(truth)
        answers.append(answer)
    found = judged(exam.metrics, truths, answers)
    assert found["box AP50"] == 1


def test_instances_of_nan_are_no_answer_and_others_are_refused(tmp_path: Path) -> None:
    dataset_folders.coco(tmp_path)
    exam = exam_of("mask-rcnn")
    question = next(exam.questions(tmp_path, silent))
    outputs = outputs_of(question.truths[0])
    broken = outputs | {"masks": np.full_like(outputs["masks"], np.nan)}
    assert exam.answers(question.feed, broken) == [None]
    with pytest.raises(GraphError, match="instances want outputs"):
        exam.answers(question.feed, {"boxes": outputs["boxes"]})
    with pytest.raises(UsageError, match="give the question's own feed"):
        exam.answers(dict(question.feed), outputs)


# Persons


def test_a_person_is_cut_out_larger_and_upright() -> None:
    """Of 100x100 become 120x130 (MODELS.md 11), and 120x160 to have the proportions of 288x384."""
    assert person_frame((150, 150, 250, 250), (400, 400), (384, 288)) == Frame((140, 120, 260, 280), 384, 288)


def test_a_person_at_the_edge_is_cut_out_as_far_as_there_is_an_image() -> None:
    """The part is that of -10 to 110 and of -30 to 130: a quarter of a pixel of the image for each of 2.4."""
    frame = person_frame((0, 0, 100, 100), (400, 90), (384, 288))
    assert frame == Frame((0, 0, 110, 90), height=216, width=264, top=72, left=24)


def asked(folder: Path) -> tuple[Exam, Question]:
    dataset_folders.coco_keypoints(folder)
    exam = exam_of("cpn")
    (question,) = exam.questions(folder, silent)  # nobody is on the other image
    return exam, question


def test_key_points_are_found_in_pixels_of_the_photograph(tmp_path: Path) -> None:
    exam, question = asked(tmp_path)
    (truth,) = question.truths
    (frame,) = question.feed.frames  # type: ignore[attr-defined]
    left, top, right, _ = frame.box
    point = truth.key_points[0, 0, :2]
    seen = (point - (left, top)) * (frame.width / (right - left)) + (frame.left, frame.top)
    heatmaps = np.zeros((1, 96, 72, 17), np.float32)
    column, row = np.rint((seen - 2) / 4).astype(int)
    heatmaps[0, row, column] = 255
    (answer,) = exam.answers(question.feed, {HEATMAPS: heatmaps})
    assert answer.places.shape == (1, 17, 2)
    np.testing.assert_allclose(answer.places[0, 0], point, atol=4 * (right - left) / frame.width)
    assert exam.say(answer) == exam.say(truth) == "1 persons"
    assert judged(exam.metrics, [truth], [answer]) == {"key point AP": pytest.approx(1, abs=0.2)}


def test_heat_maps_of_nan_are_no_answer(tmp_path: Path) -> None:
    exam, question = asked(tmp_path)
    heatmaps = np.full((1, 96, 72, 17), np.nan, np.float32)
    assert exam.answers(question.feed, {HEATMAPS: heatmaps}) == [None]
