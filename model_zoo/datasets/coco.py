"""COCO's validation images with boxes and masks, or with key points (annotations/*.json)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model_zoo.datasets.contract import DataSet, Part, Picture, Sample, Tell, first_of, text_of
from model_zoo.labels import COCO_CLASSES
from model_zoo.metrics.objects import TrueObjects
from runtime.errors import UsageError

_EDITIONS = ("val2017", "minival2014", "val2014")
_FOLDERS = ("val2017", "val2014", "images", "images/val2017", "images/val2014")
_ENDS = ("image_id", "category_id")
_POINTS = 17
_TERMS = "the COCO consortium; annotations CC BY 4.0, the images under the terms of flickr"

Note = dict[str, Any]
"""An image or an annotation, as the file has it."""


def _samples(kind: str, root: Path, tell: Tell) -> Iterator[Sample]:
    """By the number of the image; images without objects too, in which anything found is wrong."""
    path = first_of(root, *_names(kind))
    if path is None:
        raise UsageError(f"{root} holds none of {', '.join(_names(kind))}")
    images, notes, classes = _read(path, tell)
    by_image: dict[int, list[Note]] = defaultdict(list)
    for note in notes:
        if note["image_id"] in images and note["category_id"] in classes:
            by_image[note["image_id"]].append(note)
        else:
            tell("an annotation is of no image or no category", f"{path.name}: {note.get('id')}")
    for number, image in sorted(images.items()):
        file = first_of(root, *(f"{folder}/{image['file_name']}" for folder in _FOLDERS))
        if file is None:
            tell("the image is missing", image["file_name"])
            continue
        try:
            truth = _truth(image, by_image[number], classes, kind == "person_keypoints")
        except (KeyError, TypeError, ValueError) as error:
            tell("its annotations cannot be read", f"{image['file_name']}: {type(error).__name__} {error}")
        else:
            yield Sample(Picture(file), truth, str(number))


def _names(kind: str) -> tuple[str, ...]:
    return tuple(f"annotations/{kind}_{edition}.json" for edition in _EDITIONS)


def _read(path: Path, tell: Tell) -> tuple[dict[int, Note], list[Note], dict[int, int]]:
    """Images by number, annotations, and of each category our number for it; raises UsageError."""
    try:
        read = json.loads(text_of(path))
        images = {
            int(image["id"]): {**image, "file_name": str(image["file_name"])} for image in read["images"]
        }
        named = {int(category["id"]): str(category["name"]) for category in read["categories"]}
        notes = [{**note, **{end: int(note.get(end, -1)) for end in _ENDS}} for note in read["annotations"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no COCO file ({type(error).__name__}: {error}); fetch it again"
        ) from error
    if len(images) != len(read["images"]):
        tell("an image is listed twice", path.name)
    for name in sorted(set(named.values()) - set(COCO_CLASSES)):
        tell("a category is none of COCO's", name)
    classes = {number: COCO_CLASSES.index(name) for number, name in named.items() if name in COCO_CLASSES}
    return images, notes, classes


def _truth(image: Note, notes: list[Note], classes: Mapping[int, int], with_points: bool) -> TrueObjects:
    boxes = np.array([note["bbox"] for note in notes], np.float64).reshape(-1, 4)
    points = [np.reshape(note.get("keypoints", [0] * 3 * _POINTS), (_POINTS, 3)) for note in notes]
    return TrueObjects(
        labels=np.array([classes[note["category_id"]] for note in notes], np.int64),
        corners=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
        ignored=np.array([bool(note.get("iscrowd", 0)) for note in notes], bool),
        areas=np.array([note.get("area", 0.0) for note in notes], np.float64),
        size=(int(image["height"]), int(image["width"])),
        outlines=tuple(note["segmentation"] for note in notes) if not with_points else None,
        key_points=np.array(points, np.float64).reshape(-1, _POINTS, 3) if with_points else None,
    )


def _amounts(sample: Sample) -> Mapping[str, int]:
    crowds = int(np.count_nonzero(sample.truth.ignored))
    return {"objects": len(sample.truth) - crowds, "crowds": crowds}


def _set(kind: str, name: str, title: str, metrics: tuple[str, ...]) -> DataSet:
    return DataSet(
        name=name,
        title=title,
        folders=("", "coco"),
        parts=(
            Part(_names(kind), "the annotations"),
            Part(tuple(f"{folder}/*.jpg" for folder in _FOLDERS), "the images"),
        ),
        published={"val2017": 5_000, "minival2014": 5_000, "val2014": 40_504},
        unit="images",
        metrics=metrics,
        terms=_TERMS,
        samples=partial(_samples, kind),
        digest=Picture.digest,
        amounts=_amounts,
    )


COCO = _set(
    "instances",
    "coco",
    "COCO instances, validation",
    ("coco-box-ap", "coco-mask-ap", "coco-box-ap50", "coco-mask-ap50"),
)

COCO_PERSONS = _set(
    "person_keypoints", "coco-keypoints", "COCO key points of persons, validation", ("coco-keypoint-ap",)
)
