"""What CPN is judged on: crops of garments (`garment_crops`) that nobody learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from model_zoo.backgrounds import JUDGED
from model_zoo.cpn_layers import CAFFE_MEAN, IMAGES, INPUT_SCALE
from model_zoo.exam_parts import batched
from model_zoo.garment_crops import Crop, crop
from model_zoo.garment_landmarks import GARMENT_POINTS, POINTS
from model_zoo.garment_scenes import Pieces
from model_zoo.garments_exam import held_out
from model_zoo.keypoints import heatmaps_of, in_image, key_points, scores
from model_zoo.metrics.objects import FoundPersons, TrueObjects
from model_zoo.spec import Exam, Labels, Question
from runtime.tensors import Array, Feed

CROPS = 1000

_BATCH = 20


def feed_of(crops: Sequence[Crop]) -> Feed:
    """[n, 128, 96, 3] as the feeds have them."""
    pixels = np.stack([found.image for found in crops])[..., ::-1].astype(np.float32)
    return {IMAGES: (pixels - np.array(CAFFE_MEAN, np.float32)) * np.float32(INPUT_SCALE)}


def truth_of(found: Crop) -> TrueObjects:
    """As the metrics take it: one garment, all of whose points are seen."""
    points = np.column_stack([found.points, np.full(len(found.points), 2)])
    return TrueObjects(
        np.ones(1, np.int64),
        found.corners[np.newaxis],
        np.zeros(1, np.bool_),
        size=found.image.shape[:2],
        key_points=points[np.newaxis],
    )


def answers_of(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[FoundPersons]:
    """The garment of each crop in its pixels; raises GraphError for outputs of another kind."""
    maps = heatmaps_of(outputs)
    places = key_points(maps, GARMENT_POINTS.taps)
    sure = scores(maps, places).mean(axis=-1)
    return [
        FoundPersons(score[np.newaxis], row[np.newaxis])
        for score, row in zip(sure, in_image(places), strict=True)
    ]


def asked(pieces: Pieces) -> Iterator[Question]:
    """The crops of the exam, given what is held out."""
    for numbers in batched(range(CROPS), _BATCH):
        crops = [crop(pieces, JUDGED, number) for number in numbers]
        yield Question(
            feed_of(crops),
            [truth_of(found) for found in crops],
            [f"crop {number}" for number in numbers],
            [found.image for found in crops],
        )


def said(what: TrueObjects | FoundPersons) -> str:
    """Where the points are, to whole pixels."""
    places = what.places if isinstance(what, FoundPersons) else what.key_points
    rows = [] if places is None else np.rint(places[0, :, :2]).astype(int).tolist()
    return ", ".join(f"{name} ({x}, {y})" for name, (x, y) in zip(POINTS, rows, strict=True))


EXAM = Exam(
    data=f"{CROPS} crops of Fashion-MNIST's test garments on photographs; both were held out",
    labels=Labels.COMPOSED,
    metrics=("pck@0.1", "pck@0.05"),
    questions=partial(held_out, asked),
    answers=answers_of,
    say=said,
)
