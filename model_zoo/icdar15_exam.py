"""What SegLink is judged on: ICDAR 2015's test photographs with the text in them, in a user's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.exam_frames import framed_questions, frames_of, in_photograph
from model_zoo.metrics.objects import TrueText
from model_zoo.spec import Exam, FeedSource, Labels, Question, Variant
from model_zoo.text_boxes import TextBoxes, corners
from runtime.errors import CheckFailed
from runtime.progress import Progress
from runtime.tensors import Array, Feed

DATA_SET = "icdar15"
_BATCH = 2

Outlines = Sequence[Array]
"""Of each text found its four corners [4, 2] in pixels."""


def judged_on_icdar15(variant: Variant, task: TextBoxes) -> Variant:
    """The same with this exam, as the variant's first framework takes images."""
    exam = Exam(
        data="ICDAR 2015's test photographs (challenge 4), out of --data",
        labels=Labels.REAL,
        metrics=("text-f-measure",),
        questions=partial(_questions, partial(variant.feeds, next(iter(variant.build)))),
        answers=partial(_answers, task),
        say=_said,
    )
    return replace(variant, exams=(exam,))


def _questions(
    feeds: Callable[[], FeedSource], folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """Raises UnavailableError without a folder, UsageError for another one."""
    return framed_questions(DATA_SET, feeds, _BATCH, folder)


def _answers(task: TextBoxes, feed: Feed, outputs: Mapping[str, Array]) -> Sequence[Outlines | None]:
    """The texts of each image in its pixels; None of a batch whose outputs hold NaN or infinity.

    Raises UsageError for a feed that is not a question's own, what `task.read` raises for other outputs.
    """
    frames = frames_of(feed)
    try:
        found = task.read(outputs, len(frames))
    except CheckFailed:
        return [None] * len(frames)
    return [
        list(in_photograph(np.asarray(corners(boxes), np.float64), frame))
        for boxes, frame in zip(found, frames, strict=True)
    ]


def _said(what: TrueText | Outlines) -> str:
    number = int(np.count_nonzero(what.cared_for)) if isinstance(what, TrueText) else len(what)
    return f"{number} texts"
