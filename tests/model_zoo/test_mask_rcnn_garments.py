"""Mask R-CNN of garments: masks of the scenes, what it is taught, and what it is judged on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from model_zoo.catalog import get_model, get_variant
from model_zoo.detection import Detection
from model_zoo.garment_scenes import KINDS, SIDE, Pieces, Scene, pieces_of, scene
from model_zoo.garments_exam import SCENES
from model_zoo.instances import FoundInstances, InstancesInImage, in_image
from model_zoo.mask_rcnn_garments import NETWORK, SIZES
from model_zoo.mask_rcnn_garments_exam import ASK, EXAM, answers_of, masked_truth
from model_zoo.mask_rcnn_layers import OUTPUTS, RGB_MEAN, PyramidProposals, mask_rcnn_network
from model_zoo.metrics import get_measure
from model_zoo.metrics.coco_masks import run_lengths
from model_zoo.spec import Question, Split
from model_zoo.training import teach, weights_of, write_arrays
from runtime.errors import GraphError, UnavailableError
from runtime.progress import silent
from runtime.tensors import Array
from tests.model_zoo.garment_pieces import made_up_pieces

LITTLE_SIZES = replace(
    SIZES,
    name="tiny",
    body=replace(SIZES.body, width=8),
    narrower=32,
    candidates=60,
    regions=20,
    kept=6,
)
LITTLE = mask_rcnn_network(LITTLE_SIZES)
BLACK = replace(made_up_pieces(), backgrounds=made_up_pieces().backgrounds[:1])

unpacks_masks = pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools on NumPy 2

# Scenes


def test_masks_are_the_pixels_that_are_not_the_background_s() -> None:
    """On black everything that is not black was pasted, at a brightness of 0.4 or more."""
    for key in range(40):
        found = scene(BLACK, key)
        assert found.masks.shape == (len(found.labels), SIDE, SIDE)
        np.testing.assert_array_equal(found.masks.any(axis=0), found.image.max(axis=2) > 0)


def test_no_pixel_is_of_two_garments_and_none_outside_of_its_box() -> None:
    hidden = 0
    for key in range(200):
        found = scene(BLACK, key)
        assert found.masks.sum(axis=0).max() == 1
        for mask, (x1, y1, x2, y2) in zip(found.masks, found.corners.astype(int).tolist(), strict=True):
            rows, columns = np.nonzero(mask)
            assert x1 <= columns.min()
            assert columns.max() < x2
            assert y1 <= rows.min()
            assert rows.max() < y2
            hidden += (x1, y1, x2, y2) != (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert 0 < hidden < 100  # some are behind another, and their box is still of all of them


def test_a_later_garment_hides_an_earlier_one() -> None:
    """Where two boxes meet, the pixels have the colour of the later: its grey is that of the ellipse, 255."""
    met = 0
    for key in range(300):
        found = scene(BLACK, key)
        for first in range(len(found.labels) - 1):
            x1, y1, x2, y2 = found.corners[first].astype(int)
            box = np.zeros((SIDE, SIDE), bool)
            box[y1:y2, x1:x2] = True
            for later in found.masks[first + 1 :]:
                met += int((later & box).any())
                assert not (later & found.masks[first]).any()
    assert met > 20


# What it is taught


def test_what_is_taught_is_the_scene_in_the_network_s_units() -> None:
    from model_zoo.mask_rcnn_lesson import teaching

    scenes = [scene(made_up_pieces(), key) for key in range(6)]
    images, labels, boxes, masks, seed = teaching(scenes, (2**31 + 5, 7))
    assert seed.tolist() == [5, 7]
    for place, found in enumerate(scenes):
        number = len(found.labels)
        np.testing.assert_array_equal(images[place], found.image)
        np.testing.assert_array_equal(masks[place, :number], found.masks)
        assert labels[place].tolist() == [*found.labels.tolist(), *[0] * (4 - number)]
        assert not boxes[place, number:].any()
        there = FoundInstances(
            found.labels, np.ones(number), boxes[place, :number][:, [1, 0, 3, 2]], np.zeros((number, 28, 28))
        )
        np.testing.assert_array_equal(in_image(there, SIDE, SIDE).corners, found.corners)


def test_regions_of_the_network_are_drawn_and_masks_are_of_those_on_objects() -> None:
    """Sizes of what reaches the heads, image by image: 16 on objects and 32 others, 8 masks."""
    pytest.importorskip("tensorflow")
    from model_zoo.layers_tensorflow import evaluate_several
    from model_zoo.learner import first_weights
    from model_zoo.mask_rcnn_lesson import drawing
    from model_zoo.region_loss import Objects, matched

    scenes = [scene(made_up_pieces(), key) for key in range(2)]
    from model_zoo.mask_rcnn_lesson import teaching

    images, labels, boxes, masks, seed = teaching(scenes, (0, 0))
    given = Objects(labels, boxes, masks)
    inputs = {"images": images.astype(np.float32), "window": None}
    wanted = ("ROI", "roi_align_mask", "mrcnn_class_logits")
    found = evaluate_several(
        LITTLE, inputs, first_weights(LITTLE.tensors(), 0), wanted, stand_ins=drawing(given, seed)
    )
    assert found["ROI"].shape == (2, 48, 4)
    assert found["mrcnn_class_logits"].shape == (96, 5)
    assert found["roi_align_mask"].shape[:3] == (16, 14, 14)
    on_object = np.asarray(matched(found["ROI"], given)[0]) > 0
    assert on_object[:, :16].all()
    assert not on_object[:, 16:].any()


def test_a_few_steps_lower_the_loss_and_what_is_broken_off_ends_at_identical_weights(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from model_zoo.mask_rcnn_lesson import mask_rcnn_pupil
    from model_zoo.scene_lesson import Course, SceneLesson

    pieces = made_up_pieces()
    lesson = partial(SceneLesson.of, mask_rcnn_pupil(LITTLE), Course(2, scenes=96), (pieces, pieces), 0)
    whole, resumed = lesson(), lesson()
    reports = teach(whole, "key", 2, tmp_path / "whole.npz")
    losses = [next(reports).loss]
    shutil.copy(tmp_path / "whole.npz", tmp_path / "resume.npz")
    losses += [report.loss for report in reports]
    assert losses[1] < losses[0]
    assert [report.epoch for report in teach(resumed, "key", 2, tmp_path / "resume.npz")] == [2]
    for name, array in weights_of(whole).items():
        np.testing.assert_array_equal(array, weights_of(resumed)[name], err_msg=name)


def test_every_weight_learns() -> None:
    """Heads that began at 0 included: two steps move all that is no statistic of a normalisation."""
    pytest.importorskip("tensorflow")
    from model_zoo.mask_rcnn_lesson import mask_rcnn_pupil
    from model_zoo.scene_lesson import Course, SceneLesson

    pieces = made_up_pieces()
    network = mask_rcnn_network(
        replace(LITTLE_SIZES, candidates=4092, regions=600)
    )  # some on objects at once
    lesson = SceneLesson.of(mask_rcnn_pupil(network), Course(1, scenes=32), (pieces, pieces), 0)
    before = weights_of(lesson)
    assert not any(before[f"{head}/kernel"].any() for head in network.heads)
    list(lesson.epoch(0))
    after = weights_of(lesson)
    assert [name for name in before if np.array_equal(before[name], after[name])] == []


# What it is judged on


@unpacks_masks
def test_run_lengths_are_unpacked_to_the_same_pixels() -> None:
    pixels = np.random.default_rng(0).random((20, 30)) < 0.5
    np.testing.assert_array_equal(coco_mask.decode(run_lengths(pixels)), pixels)


def test_corners_are_rounded_to_pixels_and_masks_lie_between_them() -> None:
    """By hand: 0.25 and 0.75 of the way between the middles of 101 pixels, 25.2 to 76.1 of their edges."""
    found = FoundInstances(
        np.array([3]), np.array([0.5]), np.array([[0.252, 0.0, 0.751, 1.0]]), np.ones((1, 28, 28))
    )
    there = in_image(found, 101, 101)
    assert there.corners.tolist() == [[25, 0, 76, 101]]
    (mask,) = there.masks
    assert mask.shape == (101, 101)
    assert mask[:, 25:76].all()
    assert mask.sum() == 101 * 51


def lists_of(scenes: list[Scene], *, shifted: int = 0) -> dict[str, Array]:
    """What a network that finds just these would give, moved by pixels to the right."""
    count = len(scenes)
    scores, classes = np.zeros((2, count, 20), np.float32)
    boxes, masks = np.zeros((count, 20, 4), np.float32), np.zeros((count, 20, 28, 28), np.float32)
    for image, found in enumerate(scenes):
        for place, (x1, y1, x2, y2) in enumerate(found.corners.astype(int).tolist()):
            scores[image, place], classes[image, place] = 0.9, found.labels[place]
            edges = np.array((y1, x1 + shifted, y2 - 1, x2 + shifted - 1))
            boxes[image, place] = edges / (SIDE - 1)
            masks[image, place] = resized(found.masks[place, y1:y2, x1:x2])
    return {"scores": scores, "boxes": boxes, "classes": classes, "masks": masks}


def resized(mask: NDArray[np.bool_]) -> Array:
    image = PIL.Image.fromarray(mask.astype(np.float32))
    return np.asarray(image.resize((28, 28), PIL.Image.Resampling.BILINEAR))


def scored(name: str, pieces: Pieces, *, shifted: int = 0) -> float:
    metric = get_measure(name).make()
    for number in range(60):
        found = scene(pieces, number)
        question = Question({"images": np.zeros((1, SIDE, SIDE, 3))}, [masked_truth(found)], [""])
        (answer,) = answers_of(question.feed, lists_of([found], shifted=shifted))
        metric.add(question.truths[0], answer)
    return metric.value()


@pytest.mark.parametrize("name", EXAM.metrics)
def test_right_answers_score_one_and_those_beside_score_nothing(name: str) -> None:
    """Masks lose a little on their way through 28x28."""
    right = scored(name, made_up_pieces())
    assert right == pytest.approx(1, abs=0.15 if name == "coco-mask-ap" else 1e-9)
    assert scored(name, made_up_pieces(), shifted=64) < 0.1


@unpacks_masks
def test_the_exam_asks_the_scenes_of_the_other_detectors_with_masks_and_a_window() -> None:
    pieces = made_up_pieces()
    questions = list(ASK(pieces))
    assert sum(len(question.truths) for question in questions) == SCENES
    first = questions[0]
    pixels = first.feed["images"][0] + np.array(RGB_MEAN, np.float32)
    np.testing.assert_allclose(pixels, first.pictures[0], atol=1e-4)
    assert first.feed["window"].tolist() == [[0, 0, SIDE, SIDE]] * 10
    decoded = [coco_mask.decode(outline) for outline in first.truths[0].outlines]
    assert len(decoded) == len(first.truths[0]) > 0


def test_the_exam_and_the_feeds_have_the_same_form() -> None:
    try:
        asked = next(iter(EXAM.questions(None, silent))).feed
    except UnavailableError as error:
        pytest.skip(str(error))
    fed = next(
        get_variant(get_model("mask-rcnn"), "garments").feeds("tensorflow").batches(10, Split.EVALUATION)
    )
    assert fed.keys() == asked.keys()
    for name, array in fed.items():
        assert (array.shape, array.dtype) == (asked[name].shape, asked[name].dtype)
    np.testing.assert_array_equal(fed["window"], asked["window"])


def test_outputs_of_another_network_are_refused() -> None:
    with pytest.raises(GraphError, match="instances want outputs scores, boxes, classes, masks"):
        answers_of({"images": np.zeros((1, SIDE, SIDE, 3))}, {"logits": np.zeros((1, 5))})


def test_what_is_found_is_said_in_words() -> None:
    found = InstancesInImage(np.array([2, 1, 3]), np.array([0.9, 0.6, 0.4]), np.zeros((3, 4)), ())
    assert EXAM.say(found) == "T-shirt/top, trouser"


# The network


def test_the_reference_is_not_touched_by_what_may_be_different() -> None:
    (reference,) = (
        layer
        for layer in mask_rcnn_network(replace(SIZES, anchors=(32, 64, 128, 256, 512))).layers
        if isinstance(layer, PyramidProposals)
    )
    assert reference == replace(reference, anchor_sizes=PyramidProposals("", (), (1, 1), 1, 1).anchor_sizes)


def test_an_anchor_of_every_level_that_garments_are_found_on_is_as_large_as_they_are() -> None:
    """Sides of 16, 32 and 64: a garment is drawn in a square of 32 to 64, which it fills in part."""
    layer = next(layer for layer in NETWORK.layers if isinstance(layer, PyramidProposals))
    sides = [
        np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
        for key in range(50)
        for box in scene(made_up_pieces(), key).corners
    ]
    assert layer.anchor_sizes[0] < np.median(sides) < layer.anchor_sizes[2]


def test_it_tells_the_four_kinds_apart_and_names_them() -> None:
    variant = get_variant(get_model("mask-rcnn"), "garments")
    assert isinstance(variant.task, Detection)
    assert variant.task.names == ("background", *KINDS)
    assert NETWORK.maps["mrcnn_class_logits"].channels == 5
    assert NETWORK.maps["masks"].regions == 20
    assert set(NETWORK.outputs) == set(OUTPUTS)


@pytest.mark.heavy
def test_it_exports_with_weights_that_it_was_taught(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from exporters.export import export
    from model_zoo.scene_lesson import Course, SceneLesson

    variant = get_variant(get_model("mask-rcnn"), "garments")
    assert variant.training is not None
    try:
        lesson = variant.training.lesson(0, silent)
        pieces_of(Split.EVALUATION)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert isinstance(lesson, SceneLesson)
    short = replace(lesson, course=Course(1, scenes=800))
    list(short.epoch(0))
    write_arrays(tmp_path / "w.npz", weights_of(short))
    source = variant.build["tensorflow"](tmp_path / "w.npz")
    feed = next(variant.feeds("tensorflow").batches(4, Split.EVALUATION))
    assert export(source, tmp_path / "m.onnx", [feed]).parameters == variant.counts["tensorflow"].parameters
