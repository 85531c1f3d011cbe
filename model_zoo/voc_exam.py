"""What detectors of PASCAL VOC's classes are judged on: VOC 2007's test images, in a user's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.detection import Found
from model_zoo.exam_frames import framed_questions, frames_of, in_photograph
from model_zoo.framing import Frame
from model_zoo.labels import VOC_CLASSES
from model_zoo.metrics.objects import TrueObjects
from model_zoo.spec import Exam, FeedSource, Labels, Question, Variant
from runtime.errors import CheckFailed
from runtime.progress import Progress
from runtime.tensors import Array, Feed

DATA_SET = "voc2007"
_BATCH = 8
_SHOWN = 0.5

Read = Callable[[Mapping[str, Array], int], Sequence[Found]]
"""From outputs and the number of images to what was found (`detection`)."""


def judged_on_voc(variant: Variant, read: Read, *, shares: bool, batch: int = _BATCH) -> Variant:
    """The same with this exam, as the variant's first framework takes images.

    shares: corners are shares of the view of an image; else pixels of the network's input, the last included.
    """
    framework = next(iter(variant.build))
    feeds = partial(variant.feeds, framework)
    exam = Exam(
        data="PASCAL VOC 2007's test images, out of --data",
        labels=Labels.REAL,
        metrics=("voc-map",),
        questions=partial(_questions, feeds, batch),
        answers=partial(_answers, read, shares),
        say=_said,
        frameworks=(framework,),
    )
    return replace(variant, exams=(exam,))


def _questions(
    feeds: Callable[[], FeedSource], batch: int, folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """Raises UnavailableError without a folder, UsageError for another one."""
    return framed_questions(DATA_SET, feeds, batch, folder)


def _answers(read: Read, shares: bool, feed: Feed, outputs: Mapping[str, Array]) -> Sequence[Found | None]:
    """The boxes of each image in its pixels; None of a batch whose outputs hold NaN or infinity.

    Raises UsageError for a feed that is not a question's own, what `read` raises for other outputs.
    """
    frames = frames_of(feed)
    try:
        found = read(outputs, len(frames))
    except CheckFailed:  # NaN or infinity: boxes are suppressed by each other, so that none can be told
        return [None] * len(frames)
    return [_in_pixels(each, frame, shares) for each, frame in zip(found, frames, strict=True)]


def _in_pixels(found: Found, frame: Frame, shares: bool) -> Found:
    if shares:
        corners = found.corners * ((frame.width, frame.height) * 2) + ((frame.left, frame.top) * 2)
        return replace(found, corners=_placed(corners, frame))
    # py-faster-rcnn's pascal_voc.py writes both ends plus 1, for VOC counts pixels from 1 and the last one in
    return replace(found, corners=_placed(found.corners, frame) + np.array((0, 0, 1, 1)))


def _placed(corners: Array, frame: Frame) -> Array:
    return in_photograph(corners.reshape(-1, 2, 2).astype(np.float64), frame).reshape(-1, 4)


def _said(what: TrueObjects | Found) -> str:
    """The objects, and of an answer those that are shown."""
    labels = what.labels[what.scores >= _SHOWN] if isinstance(what, Found) else what.labels
    return ", ".join(sorted(VOC_CLASSES[label] for label in labels.tolist())) or "nothing"
