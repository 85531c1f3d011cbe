"""What CPN is judged on: the persons of COCO's validation images, in a user's folder.

Persons are cut out by their true boxes, and not mirrored beside it; the published 72.9 AP is with boxes of a
detector and mirror images (MODELS.md 11), so that figures are to be compared with each other only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo import keypoints
from model_zoo.exam_frames import FramedFeed, frames_of, in_photograph
from model_zoo.exam_parts import wanted_folder
from model_zoo.framing import Box, Frame
from model_zoo.keypoints import heatmaps_of, key_points
from model_zoo.metrics.objects import FoundPersons, TrueObjects
from model_zoo.spec import Exam, FeedSource, Labels, Question, Variant
from runtime.errors import CheckFailed, UsageError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

DATA_SET = "coco-keypoints"

_LARGER = (1.2, 1.3)
"""A person's box is cut out so many times as wide and as high (tf-cpn's mptest.py)."""


def judged_on_persons(variant: Variant) -> Variant:
    """The same with this exam, as the variant's first framework takes images."""
    framework = next(iter(variant.build))
    exam = Exam(
        data="persons of COCO's validation images, cut out by their true boxes, out of --data",
        labels=Labels.REAL,
        metrics=("coco-keypoint-ap",),
        questions=partial(_questions, partial(variant.feeds, framework)),
        answers=_answers,
        say=_said,
        frameworks=(framework,),
    )
    return replace(variant, exams=(exam,))


def person_frame(box: Box, image: tuple[int, int], size: tuple[int, int]) -> Frame:
    """Where the input of this height and width shows a person's box: enlarged, and with its proportions.

    image: width and height. What lies outside of it is left free, which is the mean colour.
    """
    left, top, right, bottom = box
    width, height = (right - left) * _LARGER[0], (bottom - top) * _LARGER[1]
    pixel = max(width / size[1], height / size[0])
    begin = (left + right - size[1] * pixel) / 2, (top + bottom - size[0] * pixel) / 2
    ends = begin[0] + size[1] * pixel, begin[1] + size[0] * pixel
    first = [max(each, 0.0) for each in begin]
    last = [min(each, float(side)) for each, side in zip(ends, image, strict=True)]
    places = [round((a - b) / pixel) for a, b in zip(first, begin, strict=True)]
    sides = [
        min(max(1, round((b - a) / pixel)), room - place)
        for a, b, room, place in zip(first, last, size[::-1], places, strict=True)
    ]
    return Frame((first[0], first[1], last[0], last[1]), sides[1], sides[0], places[1], places[0])


def _questions(
    feeds: Callable[[], FeedSource], folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """One image with persons after the other; raises UnavailableError without a folder, UsageError."""
    from model_zoo.datasets import get_data_set, samples
    from model_zoo.image_feeds import ImageFeeds, preprocess

    folder, source = wanted_folder(folder, get_data_set(DATA_SET).title), feeds()
    if not isinstance(source, ImageFeeds):
        raise UsageError(f"{type(source).__name__} does not feed images, which {DATA_SET} consists of")
    taken = source.image_format
    for sample in samples(DATA_SET, folder):
        boxes = _asked(sample.truth)
        if not boxes:
            continue
        image = sample.raw.open()
        frames = [person_frame(box, image.size, taken.size) for box in boxes]
        inputs = [{taken.input_name: preprocess(image, frame, taken)[np.newaxis]} for frame in frames]
        yield Question(FramedFeed(inputs, frames), [sample.truth], [sample.name], [np.asarray(image)])


def _asked(truth: TrueObjects) -> list[Box]:
    """The boxes of persons that have key points and are no crowd."""
    if truth.key_points is None:
        return []
    labelled = (truth.key_points[..., 2] > 0).any(axis=1) & ~truth.ignored
    large = (truth.corners[:, 2:] > truth.corners[:, :2]).all(axis=1)
    return [
        (left, top, right, bottom) for left, top, right, bottom in truth.corners[labelled & large].tolist()
    ]


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[FoundPersons | None]:
    """The persons of the one image, in its pixels; None where heat maps hold NaN or infinity.

    Raises UsageError for a feed that is not a question's own, GraphError for other outputs.
    """
    frames = frames_of(feed)
    try:
        heatmaps = heatmaps_of(outputs)
    except CheckFailed:
        return [None]
    places = key_points(heatmaps)
    sure = keypoints.scores(heatmaps, places).mean(axis=-1)
    inside = keypoints.in_image(places)
    shown = [in_photograph(points, frame) for points, frame in zip(inside, frames, strict=True)]
    return [FoundPersons(sure, np.stack(shown))]


def _said(what: TrueObjects | FoundPersons) -> str:
    number = len(_asked(what)) if isinstance(what, TrueObjects) else len(what.scores)
    return f"{number} persons"
