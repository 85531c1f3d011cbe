"""What outputs say of a photograph, against places that are known and the preprocessing itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bench.findings import ClassProbability, ObjectBox, ObjectMask, Person, TextOutline, Word
from bench.reading import Answer, View, probabilities, reader_of
from model_zoo.catalog import get_model, get_variant
from model_zoo.cpn import PersonCrop
from model_zoo.detection import REGIONS, SINGLE_SHOT, Detection
from model_zoo.framing import CentreCrop, Fit, Frame, Framing, Square, Warp
from model_zoo.garment_landmarks import GARMENT_POINTS, POINTS
from model_zoo.image_feeds import ImageFormat, preprocess
from model_zoo.instances import INSTANCES
from model_zoo.keypoints import COCO_PAIRS, KEY_POINTS
from model_zoo.labels import CHARACTERS, COCO_CLASSES, COCO_KEY_POINTS, COCO_LIMBS, VOC_CLASSES
from model_zoo.spec import Task
from model_zoo.tasks import CLASSIFICATION, EMBEDDING, SPAN
from model_zoo.text_boxes import TextBoxes
from model_zoo.text_recognition import BEST_PATH, BestPath
from runtime.errors import CheckFailed, GraphError
from runtime.tensors import Array

# A photograph of 640 x 480 as an input of 320 x 160 (width, height): halved, and a third
WARPED = View(Frame((0, 0, 640, 480), 160, 320), (640, 480), (160, 320))


def read(task: Task, outputs: Mapping[str, Array], view: View) -> Answer:
    reader = reader_of(task)
    assert reader is not None
    return reader(task, outputs, view)


def test_a_view_stretches_and_moves() -> None:
    view = View(Frame((10, 20, 110, 70), 100, 50, top=3, left=2), (200, 100), (120, 60))
    assert view.in_photograph(np.array([[2, 3], [52, 103], [27, 13]])).tolist() == [
        [10, 20],
        [110, 70],
        [60, 25],
    ]


def test_the_part_is_named_where_it_is_not_all() -> None:
    assert WARPED.part is None
    assert View(Frame((80, 0, 560, 480), 224, 224), (640, 480), (224, 224)).part == (80, 0, 560, 480)


@pytest.mark.parametrize("framing", [CentreCrop(), Warp(), Fit(), Square(shorter=100), PersonCrop()])
@given(across=st.floats(0.4, 0.6), down=st.floats(0.4, 0.6), wide=st.booleans())
def test_a_view_is_the_way_back_from_preprocessing(
    framing: Framing, across: float, down: float, wide: bool
) -> None:
    """A white spot, seen through the preprocessing: its centre comes back to where it was painted."""
    size, input_size = (500, 300) if wide else (300, 500), (192, 144)
    left, top = int(across * size[0]), int(down * size[1])
    photograph = Image.new("RGB", size)
    photograph.paste((255, 255, 255), (left, top, left + 20, top + 20))
    frame = framing.whole(*size, input_size)
    seen = preprocess(photograph, frame, ImageFormat("x", input_size, "NHWC", "RGB", framing=framing))[..., 0]
    y, x = np.mgrid[: input_size[0], : input_size[1]] + 0.5
    centre = np.array(((x * seen).sum(), (y * seen).sum())) / seen.sum()
    back = View(frame, size, input_size).in_photograph(centre)
    np.testing.assert_allclose(back, (left + 10, top + 10), atol=0.5)


@given(st.integers(0, 2**32 - 1))
def test_logits_become_probabilities_and_probabilities_stay(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, 50).astype(np.float32)
    expected = scipy.special.softmax(logits.astype(np.float64))
    np.testing.assert_allclose(probabilities(logits), expected, rtol=1e-6)
    np.testing.assert_allclose(probabilities(expected), expected, rtol=1e-12)
    np.testing.assert_allclose(probabilities(logits * 100).sum(), 1)


def test_probabilities_that_int8_rounded_away_stay_so() -> None:
    assert probabilities(np.array([0.5, 0.125, 0, 0])).tolist() == [0.5, 0.125, 0, 0]


@pytest.mark.parametrize("shape", [(1, 8), (1, 8, 1, 1)])
def test_the_five_best_classes_are_told(shape: tuple[int, ...]) -> None:
    values = np.array([0.02, 0.3, 0.05, 0.25, 0.01, 0.17, 0.2, 0.0], np.float32)
    found = read(CLASSIFICATION, {"prob": values.reshape(shape)}, WARPED).findings
    assert [each.class_index for each in found if isinstance(each, ClassProbability)] == [1, 3, 6, 5, 2]
    assert list(found[0].lines()) == ["class 1: 30.0%"]


def _objects(answer: Answer) -> list[ObjectBox]:
    return [found for found in answer.findings if isinstance(found, ObjectBox)]


def test_boxes_in_fractions_come_to_the_photograph() -> None:
    """SSD: a cat in a quarter of the photograph, an unsure dog, and a person that reaches out of it."""
    rows = [(0, 8, 0.6, 0.25, 0.5, 0.75, 1.0), (0, 12, 0.4, 0, 0, 1, 1), (0, 15, 0.9, -0.2, 0, 0.5, 1.5)]
    answer = read(SINGLE_SHOT, {"found": np.array(rows, np.float32).reshape(1, 1, -1, 7)}, WARPED)
    person, cat = _objects(answer)
    assert (person.class_name, cat.class_name) == ("person", "cat")
    assert person.box == (0, 0, 320, 480)
    assert cat.box == (160, 240, 480, 480)
    assert list(cat.lines()) == ["cat 0.60: (160.0, 240.0) to (480.0, 480.0)"]
    assert answer.remark == "objects: 2; with a score below 0.5, not shown: 1"


def test_tensorflows_lists_of_boxes_come_to_the_photograph() -> None:
    scores, boxes = np.zeros((1, 20, 3), np.float32), np.zeros((1, 20, 3, 4), np.float32)
    scores[0, 6, 0], boxes[0, 6, 0] = 0.75, (0.5, 0.25, 1.0, 0.75)  # y, x, y, x
    (car,) = _objects(read(SINGLE_SHOT, {"scores": scores, "boxes": boxes}, WARPED))
    assert (car.class_name, car.score, car.box) == ("car", 0.75, (160, 240, 480, 480))


def test_boxes_in_pixels_come_to_the_photograph() -> None:
    """Faster R-CNN on a photograph of 640 x 320 that is halved, with nothing below it."""
    view = View(Frame((0, 0, 640, 320), 160, 320), (640, 320), (320, 320))
    scores = np.zeros((1, 21), np.float32)
    scores[0, [0, 19]] = 0.2, 0.8
    outputs = {
        "rois": np.array([[0, 40, 20, 99, 79]], np.float32),  # the last pixel counts
        "cls_prob": scores,
        "bbox_pred": np.zeros((1, 84), np.float32),
    }
    (train,) = _objects(read(REGIONS, outputs, view))
    assert train.class_name == "train"
    assert train.box == pytest.approx((80, 40, 200, 160))


def test_objects_with_masks_come_to_the_photograph() -> None:
    """Mask R-CNN on a wide photograph, enlarged twice in the middle of a square: a box and its upper half."""
    view = View(Frame((0, 0, 100, 50), 100, 200, top=50), (100, 50), (200, 200))
    masks = np.zeros((1, 2, 28, 28), np.float32)
    masks[0, 0, :14] = 1
    outputs: dict[str, Array] = {
        "scores": np.array([[0.75, 0.25]], np.float32),
        # y, x, y, x; pixels 70 to 109 and 40 to 79, divided by their number less one
        "boxes": np.array([[(70, 40, 109, 79), (0, 0, 199, 199)]], np.float32) / 199,
        "classes": np.array([[COCO_CLASSES.index("cat"), 1]], np.float32),
        "masks": masks,
    }
    answer = read(INSTANCES, outputs, view)
    (cat,) = answer.findings
    assert isinstance(cat, ObjectMask)
    assert (cat.object.class_name, cat.object.score) == ("cat", 0.75)
    assert cat.object.box == pytest.approx((20, 10, 40, 30), abs=1e-4)
    expected = np.zeros((50, 100), np.bool_)
    expected[10:20, 20:40] = True
    np.testing.assert_array_equal(cat.mask.pixels(), expected)
    assert list(cat.lines()) == ["cat 0.75: (20.0, 10.0) to (40.0, 30.0), 200 pixels"]
    assert answer.remark == "objects: 1; with a score below 0.5, not shown: 1"


def test_a_detector_of_other_kinds_names_them_itself() -> None:
    """Garments have no place among VOC's or COCO's classes."""
    scores, boxes = np.zeros((1, 4, 3), np.float32), np.zeros((1, 4, 3, 4), np.float32)
    scores[0, 3, 0], boxes[0, 3, 0] = 0.75, (0.5, 0.25, 1.0, 0.75)
    detector = get_variant(get_model("ssd"), "garments").task
    (boot,) = _objects(read(detector, {"scores": scores, "boxes": boxes}, WARPED))
    assert boot.class_name == "ankle boot"
    outputs = {
        "scores": np.array([[0.75]], np.float32),
        "boxes": np.array([[(0.1, 0.1, 0.5, 0.5)]], np.float32),
        "classes": np.array([[2]], np.float32),
        "masks": np.ones((1, 1, 28, 28), np.float32),
    }
    (trouser,) = read(get_variant(get_model("mask-rcnn"), "garments").task, outputs, WARPED).findings
    assert isinstance(trouser, ObjectMask)
    assert trouser.object.class_name == "trouser"


def test_nothing_found_is_said() -> None:
    nothing = np.array([0, -1, -1, -1, -1, -1, -1], np.float32).reshape(1, 1, 1, 7)
    assert read(SINGLE_SHOT, {"found": nothing}, WARPED) == Answer(
        (), "objects: 0; with a score below 0.5, not shown: 0"
    )


def test_key_points_come_to_the_photograph() -> None:
    """Peaks on a heat map of a quarter of the input, which is a part of the photograph, halved."""
    maps = np.zeros((1, 96, 72, 17), np.float32)
    rows, columns = 20 + 2 * np.arange(17), 15 + 3 * np.arange(17)
    for point in range(17):
        heat = 255 if point % 2 else 30
        maps[0, rows[point], columns[point], point] = heat
        maps[0, rows[point], columns[point] + 1, point] = heat * 0.9
    frame = Frame((100, 50, 100 + 576, 50 + 768), 384, 288)
    answer = read(KEY_POINTS, {"heatmaps": maps}, View(frame, (800, 900), (384, 288)))
    (person,) = answer.findings
    assert isinstance(person, Person)
    assert [point.name for point in person.points] == list(COCO_KEY_POINTS)
    # A quarter of a pixel towards the neighbour; 4 pixels of the input each, measured from their middle.
    expected = np.stack([100 + 2 * (4 * (columns + 0.25) + 2), 50 + 2 * (4 * rows + 2)], axis=-1)
    np.testing.assert_allclose([point.place for point in person.points], expected, atol=1e-9)
    assert [point.sure for point in person.points] == [point % 2 == 1 for point in range(17)]
    nose, left_eye, *_ = person.lines()
    assert nose == "nose 0.62: (226.0, 214.0) (unsure)"
    assert left_eye == "left eye 1.50: (250.0, 230.0)"


def test_key_points_have_the_names_and_the_lines_of_their_task() -> None:
    maps = np.zeros((1, 32, 24, 6), np.float32)
    maps[0, 10, 2 + 3 * np.arange(6), np.arange(6)] = 255
    answer = read(
        GARMENT_POINTS, {"heatmaps": maps}, View(Frame((0, 0, 96, 128), 128, 96), (96, 128), (128, 96))
    )
    (garment,) = answer.findings
    assert isinstance(garment, Person)
    assert tuple(point.name for point in garment.points) == POINTS
    assert garment.limbs == GARMENT_POINTS.limbs != COCO_LIMBS
    assert answer.remark.startswith("what is seen is taken for one garment; ")


def test_lines_of_text_come_to_the_photograph_as_outlines() -> None:
    """One segment that lies level, one that stands on its head by 90 degrees short of it: sides change."""
    outputs = _segments(np.array([[100, 40, 60, 20, 0, 1], [200, 80, 40, 20, 0.6, 0.8]], np.float32))
    answer = read(TextBoxes(((2, 1), (1, 1))), outputs, WARPED)
    assert answer.remark == "lines of text: 2"
    level, leaning = (found for found in answer.findings if isinstance(found, TextOutline))
    np.testing.assert_allclose(level.corners, [(140, 90), (260, 90), (260, 150), (140, 150)], atol=1e-4)
    # 3-4-5: half the width goes (16, 12) along, half the height (-6, 8) down, in pixels of the input
    corners = np.array([(200 - 16 + 6, 80 - 12 - 8), (200 + 16 + 6, 80 + 12 - 8)]) * (2, 3)
    np.testing.assert_allclose(leaning.corners[:2], corners, atol=1e-3)


def _segments(geometry: NDArray[np.float32]) -> dict[str, Array]:
    """Two cells of a map of two rows, with a segment each and no links; nothing on the map above."""
    return {
        "segments": np.array([[[1], [1], [0]]], np.float32),
        "geometry": np.concatenate([geometry, [[0, 0, 1, 1, 0, 1]]])[np.newaxis].astype(np.float32),
        "local_links": np.zeros((1, 3, 8), np.float32),
        "cross_links": np.zeros((1, 1, 4), np.float32),
    }


def test_a_word_is_read_with_the_usual_characters() -> None:
    path = "cc-aa-t-2-2"
    scores = np.eye(37, dtype=np.float32)[[36 if each == "-" else CHARACTERS.index(each) for each in path]]
    (word,) = read(BEST_PATH, {"logits": scores[np.newaxis]}, WARPED).findings
    assert word == Word("cat22", (12, 10, 29, 2, 2))
    assert list(word.lines()) == ['word: "cat22"']


def test_a_network_that_says_what_its_characters_are_is_read_with_them() -> None:
    scores = np.eye(4, dtype=np.float32)[[0, 2, 2, 0, 2, 3]]
    answer = read(BestPath(blank=0, characters="\0abc"), {"logits": scores[np.newaxis]}, WARPED)
    assert answer == Answer((Word("bbc", (2, 2, 3)),))


@pytest.mark.parametrize("task", [CLASSIFICATION, SINGLE_SHOT, REGIONS, INSTANCES, KEY_POINTS, BEST_PATH])
def test_outputs_of_another_task_are_refused(task: Task) -> None:
    nothing = np.zeros((1, 2), np.float32)
    with pytest.raises(GraphError, match=r"the graph gives|this one gives"):
        read(task, {"a": nothing, "b": nothing}, WARPED)


def test_what_is_not_finite_says_nothing() -> None:
    with pytest.raises(CheckFailed, match="'prob' holds 1 NaN"):
        read(CLASSIFICATION, {"prob": np.array([[0.5, np.nan]], np.float32)}, WARPED)


def test_tasks_on_text_have_no_reader() -> None:
    assert reader_of(SPAN) is reader_of(EMBEDDING) is reader_of(None) is None


def test_a_detector_whose_outputs_are_read_in_another_way_has_no_reader() -> None:
    assert reader_of(Detection(lambda outputs, samples: [])) is None


def test_limbs_are_those_of_both_sides_alike() -> None:
    """A mirror image has the same limbs: swapping left and right changes nothing but the pairs' order."""
    swapped = {a: b for pair in COCO_PAIRS for a, b in (pair, pair[::-1])}
    limbs = {frozenset(limb) for limb in COCO_LIMBS}
    assert len(limbs) == 19
    assert {frozenset(swapped.get(point, point) for point in limb) for limb in limbs} == limbs
    for left, right in COCO_PAIRS:
        assert COCO_KEY_POINTS[left].replace("left", "right") == COCO_KEY_POINTS[right]


def test_labels_are_as_many_as_the_networks_tell_apart() -> None:
    from model_zoo.cpn_layers import Sizes
    from model_zoo.crnn import NETWORK
    from model_zoo.faster_rcnn_layers import VOC_CLASSES as CLASSES
    from model_zoo.mask_rcnn_layers import COCO_CLASSES as MASKED_CLASSES

    assert (len(VOC_CLASSES), len(COCO_KEY_POINTS)) == (CLASSES, Sizes().key_points)
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == MASKED_CLASSES
    assert NETWORK.name == "crnn"
    assert len(set(CHARACTERS)) == 36
