"""Average precision: VOC's by hand, COCO's by pycocotools over all images at once."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from model_zoo.detection import Found
from model_zoo.metrics import METRICS, Metric
from model_zoo.metrics.objects import TrueObjects
from runtime.errors import UsageError
from tests.model_zoo.metric_cases import SIDE, Case, case


def objects(
    *boxes: tuple[float, float, float, float], labels: tuple[int, ...] = (), ignored: int = 0
) -> TrueObjects:
    """The last `ignored` ones are difficult."""
    number = len(boxes)
    return TrueObjects(
        np.array(labels or (1,) * number, np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.arange(number) >= number - ignored,
    )


def answers(*rows: tuple[float, tuple[float, float, float, float]], label: int = 1) -> Found:
    return Found(
        np.full(len(rows), label, np.int64),
        np.array([score for score, _ in rows]),
        np.array([box for _, box in rows], np.float64).reshape(-1, 4),
    )


def of(name: str, *pairs: tuple[Any, Any]) -> float:
    metric: Metric = METRICS[name].make()
    for truth, answer in pairs:
        metric.add(truth, answer)
    return metric.value()


A, B, C = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (40.0, 0.0, 50.0, 10.0)
NOWHERE = (90.0, 90.0, 99.0, 99.0)


def test_voc_precision_at_eleven_levels_by_hand() -> None:
    """Right, wrong, right, of three objects: precision 1 up to recall 1/3, and 2/3 up to 2/3."""
    pair = (objects(A, B, C), answers((0.9, A), (0.8, NOWHERE), (0.7, B)))
    assert of("voc-map", pair) == pytest.approx((4 * 1 + 3 * 2 / 3 + 4 * 0) / 11)


def test_voc_ranks_over_images_and_averages_over_the_classes_there_are() -> None:
    first = (objects(A, labels=(1,)), answers((0.5, A)))
    second = (objects(B, labels=(2,)), answers((0.9, NOWHERE), label=1))
    assert of("voc-map", first, second) == pytest.approx((0.5 + 0) / 2)


def test_voc_counts_a_second_hit_as_wrong_and_a_difficult_one_not_at_all() -> None:
    twice = answers((0.9, A), (0.8, A), (0.7, B))
    assert of("voc-map", (objects(A, B), twice)) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    difficult = answers((0.9, A), (0.8, C), (0.7, C), (0.6, B))
    assert of("voc-map", (objects(A, B, C, ignored=1), difficult)) == 1


def test_voc_takes_half_an_overlap_and_no_less() -> None:
    """MODELS.md 2.6: 0.5 or more."""
    half, less = (0.0, 0.0, 10.0, 5.0), (0.0, 0.0, 10.0, 4.9)
    assert of("voc-map", (objects(A), answers((0.9, half)))) == 1
    assert of("voc-map", (objects(A), answers((0.9, less)))) == 0


def test_voc_reaches_three_tenths_with_three_of_ten() -> None:
    boxes = tuple((20.0 * k, 0.0, 20.0 * k + 10, 10.0) for k in range(10))
    three = answers(*((0.9, box) for box in boxes[:3]))
    assert of("voc-map", (objects(*boxes), three)) == pytest.approx(4 / 11)


def test_an_answer_takes_the_object_it_overlaps_most() -> None:
    near = (2.0, 0.0, 12.0, 10.0)
    pair = (objects(A, near), answers((0.9, near), (0.8, A)))
    assert of("voc-map", pair) == 1


def whole(
    name: str, given: Case, weights: list[int] | None = None, change: Callable[[Any], None] | None = None
) -> float:
    """COCOeval's own figure; an image with weight k is there k times. `change` sets its parameters."""
    kind = {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}[name.split("-")[1]]
    often = weights or [1] * len(given.truths)
    copies = [index for index, number in enumerate(often) for _ in range(number)]
    truths = [note for image, k in enumerate(copies, 1) for note in true_notes(kind, given.truths[k], image)]
    found = [note for image, k in enumerate(copies, 1) for note in results(kind, given.answers[k], image)]
    dataset = {
        "info": {},
        "images": [{"id": image, "height": SIDE, "width": SIDE} for image in range(1, len(copies) + 1)],
        "annotations": [{**note, "id": number} for number, note in enumerate(truths, 1)],
        "categories": [{"id": label} for label in (1, 2, 3)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dataset
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), kind)
        if change is not None:
            change(evaluation.params)
        evaluation.evaluate()
        evaluation.accumulate()
    # [overlaps, recall levels, classes, sizes, numbers of answers]; -1 where a class has no objects
    overlaps = slice(0, 1 if name.endswith("50") else None)  # the first is 0.5
    precision = evaluation.eval["precision"][overlaps, :, :, 0, -1]
    return float(precision[precision > -1].mean())


def true_notes(kind: str, truth: TrueObjects, image: int) -> list[dict[str, Any]]:
    made = []
    for number in range(len(truth)):
        left, top, right, bottom = truth.corners[number].tolist()
        note: dict[str, Any] = {
            "image_id": image,
            "category_id": int(truth.labels[number]),
            "iscrowd": int(truth.ignored[number]),
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
        }
        if kind == "segm":
            assert truth.outlines is not None
            note["segmentation"] = truth.outlines[number]
        if kind == "keypoints":
            assert truth.key_points is not None
            points = truth.key_points[number]
            note["keypoints"] = points.reshape(-1).tolist()
            note["num_keypoints"] = int((points[:, 2] > 0).sum())
        made.append(note)
    return made


def results(kind: str, answer: Any, image: int) -> list[dict[str, Any]]:
    made = []
    for number, score in enumerate(answer.scores.tolist()):
        note: dict[str, Any] = {"image_id": image, "category_id": 1, "score": score}
        if kind == "keypoints":
            points = np.concatenate([answer.places[number], np.ones((17, 1))], axis=1)
            note["keypoints"] = points.reshape(-1).tolist()
        else:
            note["category_id"] = int(answer.labels[number])
        if kind == "segm":
            note["segmentation"] = mask.encode(np.asfortranarray(answer.masks[number], np.uint8))
        if kind == "bbox":
            left, top, right, bottom = answer.corners[number].tolist()
            note["bbox"] = [left, top, right - left, bottom - top]
        made.append(note)
    return made


def noisy(given: Case, name: str) -> Case:
    """Some answers are left out and some have another class, so that precision falls."""
    if name == "coco-keypoint-ap":
        return given
    generator = np.random.default_rng(11)
    changed = []
    for answer in given.answers:
        labels = np.where(generator.random(len(answer.labels)) < 0.3, 2, answer.labels)
        changed.append(dataclasses.replace(answer, labels=labels))
    return dataclasses.replace(given, answers=changed)


@pytest.mark.parametrize(
    "name", ["coco-box-ap", "coco-box-ap50", "coco-mask-ap", "coco-mask-ap50", "coco-keypoint-ap"]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_coco_precision_is_pycocotools_own(name: str, seed: int) -> None:
    given = noisy(case(name, 25, seed), name)
    expected = whole(name, given)
    metric = METRICS[name].make()
    for truth, answer in zip(given.truths, given.answers, strict=True):
        metric.add(truth, answer)
    assert metric.value() == pytest.approx(expected, abs=1e-12)
    assert 0.3 < expected < 0.99
    weights = np.random.default_rng(seed).multinomial(25, np.full(25, 1 / 25))
    assert metric.value(weights.astype(np.float64)) == pytest.approx(
        whole(name, given, weights.tolist()), abs=1e-12
    )


def test_voc_is_cocos_precision_at_one_overlap_and_eleven_levels() -> None:
    """Of objects far apart, where both rules match alike."""

    def as_in_voc(params: Any) -> None:
        params.iouThrs, params.recThrs = np.array([0.5]), np.linspace(0, 1, 11) - 1e-9

    given = noisy(case("voc-map", 40), "voc-map")
    truths = [
        dataclasses.replace(truth, ignored=np.zeros(len(truth), bool), corners=truth.corners + spread(truth))
        for truth in given.truths
    ]
    answers_ = [
        dataclasses.replace(answer, corners=answer.corners + spread(answer)) for answer in given.answers
    ]
    apart = dataclasses.replace(given, truths=truths, answers=answers_)
    expected = whole("coco-box-ap", apart, change=as_in_voc)
    assert of("voc-map", *zip(truths, answers_, strict=True)) == pytest.approx(expected, abs=1e-9)
    assert 0.3 < expected < 0.95


def spread(those: TrueObjects | Found) -> NDArray[np.float64]:
    return np.arange(len(those.labels), dtype=np.float64)[:, None] * 100


def test_coco_ignores_what_lies_in_a_crowd() -> None:
    crowd = objects(A, (20.0, 0.0, 60.0, 40.0), ignored=1)
    inside = answers((0.9, A), (0.8, (22.0, 2.0, 30.0, 12.0)), (0.7, (40.0, 4.0, 50.0, 12.0)))
    assert of("coco-box-ap", (crowd, inside)) == pytest.approx(1)
    assert of("coco-box-ap", (objects(A), inside)) == pytest.approx(1)  # wrong ones behind the last right one
    first = answers((0.9, (22.0, 2.0, 30.0, 12.0)), (0.8, A))
    assert of("coco-box-ap", (objects(A), first)) == pytest.approx(0.5)
    assert of("coco-box-ap", (crowd, first)) == pytest.approx(1)


def test_masks_and_key_points_have_to_be_there() -> None:
    with pytest.raises(UsageError, match="wants objects with outlines, these have none; give instances_"):
        METRICS["coco-mask-ap"].make().add(objects(A), None)
    with pytest.raises(UsageError, match="wants persons with key points, these have none; give person_key"):
        METRICS["coco-keypoint-ap"].make().add(objects(A), None)
