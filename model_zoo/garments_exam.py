"""What detectors of garments are judged on: scenes of garments and photographs that nobody learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.detection import Found, single_shot
from model_zoo.garment_scenes import JUDGED, KINDS, SIDE, Pieces, Scene, pieces_of, scene
from model_zoo.metrics.objects import TrueObjects
from model_zoo.spec import Exam, Labels, Question, Split
from runtime.errors import UnavailableError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

SCENES = 500
"""150 leave an interval of 2.4 % around a precision's share of FP32's mAP, which decides nothing at 99 %."""

_BATCH = 10
_SHOWN = 0.5


def exam_of(input_name: str, mean: Sequence[float]) -> Exam:
    """For a network that takes RGB less a mean."""
    return Exam(
        data=f"{SCENES} scenes of Fashion-MNIST's test garments pasted on photographs; both were held out",
        labels=Labels.COMPOSED,
        metrics=("voc-map",),
        questions=partial(_questions, input_name, tuple(mean)),
        answers=answers_of,
        say=_said,
    )


def judged(pieces: Pieces) -> Iterator[Scene]:
    """The scenes of the exam, given what is held out."""
    return (scene(pieces, JUDGED, k) for k in range(SCENES))


def fed(scenes: Sequence[Scene], mean: Sequence[float]) -> Array:
    """[n, 128, 128, 3] as the feeds have them."""
    return np.stack([found.image for found in scenes]) - np.asarray(mean, np.float32)


def truth_of(found: Scene) -> TrueObjects:
    """As the metrics take it."""
    return TrueObjects(
        found.labels, found.corners, np.zeros(len(found.labels), np.bool_), size=found.image.shape[:2]
    )


def answers_of(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[Found]:
    """The boxes of each image in its pixels; raises GraphError for outputs of another kind."""
    (images,) = feed.values()
    found = single_shot(outputs, len(images))
    return [Found(each.labels, each.scores, each.corners * np.float32(SIDE)) for each in found]


def _questions(
    input_name: str, mean: Sequence[float], folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """Raises UnavailableError where the pieces cannot be fetched, or other ones are given."""
    if folder is not None:
        raise UnavailableError(
            f"{folder}: the scenes of garments are composed by the harness itself; leave --data out"
        )
    scenes = list(judged(pieces_of(Split.EVALUATION, progress)))
    for start in range(0, SCENES, _BATCH):
        part = scenes[start : start + _BATCH]
        yield Question(
            {input_name: fed(part, mean)},
            [truth_of(found) for found in part],
            [f"scene {start + index}" for index in range(len(part))],
            [found.image for found in part],
        )


def _said(what: TrueObjects | Found) -> str:
    """The garments, and of an answer those that are shown."""
    labels = what.labels[what.scores >= _SHOWN] if isinstance(what, Found) else what.labels
    return ", ".join(sorted(KINDS[label - 1] for label in labels.tolist())) or "nothing"
