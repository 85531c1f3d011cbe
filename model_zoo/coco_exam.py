"""What Mask R-CNN is judged on: COCO's validation images with boxes and masks, in a user's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.detection import Found
from model_zoo.exam_frames import framed_questions, frames_of, in_photograph
from model_zoo.framing import Frame
from model_zoo.instances import FoundInstances, InstancesInImage, in_image, instances
from model_zoo.labels import COCO_CLASSES
from model_zoo.metrics.objects import TrueObjects
from model_zoo.network import RGB_IMAGES
from model_zoo.spec import Exam, FeedSource, Labels, Question, Variant
from runtime.errors import CheckFailed
from runtime.progress import Progress
from runtime.tensors import Array, Feed

DATA_SET = "coco"
_BATCH = 1
_SHOWN = 0.5


def judged_on_coco(variant: Variant) -> Variant:
    """The same with this exam, as the variant's first framework takes images."""
    framework = next(iter(variant.build))
    exam = Exam(
        data="COCO's validation images, out of --data",
        labels=Labels.REAL,
        metrics=("coco-box-ap", "coco-mask-ap", "coco-box-ap50", "coco-mask-ap50"),
        questions=partial(_questions, partial(variant.feeds, framework)),
        answers=_answers,
        say=_said,
        frameworks=(framework,),
    )
    return replace(variant, exams=(exam,))


def _questions(
    feeds: Callable[[], FeedSource], folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """Raises UnavailableError without a folder, UsageError for another one."""
    return framed_questions(DATA_SET, feeds, _BATCH, folder)


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[InstancesInImage | None]:
    """The objects of each image in its pixels; None of a batch whose outputs hold NaN or infinity.

    Raises UsageError for a feed that is not a question's own, GraphError for other outputs.
    """
    frames, input_size = frames_of(feed), feed[RGB_IMAGES].shape[1:3]
    try:
        found = instances(outputs, len(frames))
    except CheckFailed:  # NaN or infinity: boxes are suppressed by each other, so that none can be told
        return [None] * len(frames)
    return [_in_pixels(each, frame, input_size) for each, frame in zip(found, frames, strict=True)]


def _in_pixels(found: FoundInstances, frame: Frame, input_size: Sequence[int]) -> InstancesInImage:
    """In the photograph, all of which the frame shows."""
    width, height = (int(side) for side in frame.box[2:])
    edges = found.corners * _between_middles(*input_size) + (0, 0, 1, 1)
    placed = in_photograph(edges.reshape(-1, 2, 2).astype(np.float64), frame).reshape(-1, 4)
    corners = (placed - (0, 0, 1, 1)) / np.maximum(_between_middles(height, width), 1)
    return in_image(replace(found, corners=corners), height, width)


def _between_middles(height: int, width: int) -> Array:
    """Pixels from the middle of the first to the middle of the last one, across and down, twice."""
    return np.array((width - 1, height - 1) * 2)


def _said(what: TrueObjects | Found) -> str:
    """The objects, and of an answer those that are shown."""
    labels = what.labels[what.scores >= _SHOWN] if isinstance(what, Found) else what.labels
    return ", ".join(sorted(COCO_CLASSES[label] for label in labels.tolist())) or "nothing"
