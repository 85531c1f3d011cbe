"""What detectors of garments are judged on: scenes of garments and photographs that nobody learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.backgrounds import JUDGED
from model_zoo.detection import Found, single_shot
from model_zoo.garment_scenes import KINDS, SIDE, Pieces, Scene, pieces_of, scene
from model_zoo.metrics.objects import TrueObjects
from model_zoo.spec import Exam, Labels, Question, Split
from runtime.errors import UnavailableError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

SCENES = 500
"""150 leave an interval of 2.4 % around a precision's share of FP32's mAP, which decides nothing at 99 %."""

DATA = f"{SCENES} scenes of Fashion-MNIST's test garments pasted on photographs; both were held out"

_BATCH = 10
_SHOWN = 0.5

Ask = Callable[[Pieces], Iterator[Question]]
"""From what is held out to the questions about it."""


def exam_of(input_name: str, mean: Sequence[float]) -> Exam:
    """For a network that takes RGB less a mean."""
    return Exam(
        data=DATA,
        labels=Labels.COMPOSED,
        metrics=("voc-map",),
        questions=partial(held_out, asked_of(input_name, mean)),
        answers=answers_of,
        say=said,
    )


def asked_of(input_name: str, mean: Sequence[float]) -> Ask:
    """The questions to such a network."""
    return partial(asked, partial(image_feed, input_name, tuple(mean)), truth_of)


def image_feed(input_name: str, mean: Sequence[float], scenes: Sequence[Scene]) -> Feed:
    """[n, 128, 128, 3] as the feeds have them."""
    return {input_name: np.stack([found.image for found in scenes]) - np.asarray(mean, np.float32)}


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


def held_out(ask: Ask, folder: Path | None, progress: Progress) -> Iterator[Question]:
    """Raises UnavailableError where the pieces cannot be fetched, or other ones are given."""
    if folder is not None:
        raise UnavailableError(
            f"{folder}: the scenes of garments are composed by the harness itself; leave --data out"
        )
    return ask(pieces_of(Split.EVALUATION, progress))


def asked(
    feed: Callable[[Sequence[Scene]], Feed], truth: Callable[[Scene], TrueObjects], pieces: Pieces
) -> Iterator[Question]:
    """The scenes of the exam, given what is held out."""
    for start in range(0, SCENES, _BATCH):
        numbers = range(start, start + _BATCH)
        part = [scene(pieces, JUDGED, number) for number in numbers]
        yield Question(
            feed(part),
            [truth(found) for found in part],
            [f"scene {number}" for number in numbers],
            [found.image for found in part],
        )


def said(what: TrueObjects | Found) -> str:
    """The garments, and of an answer those that are shown."""
    labels = what.labels[what.scores >= _SHOWN] if isinstance(what, Found) else what.labels
    return ", ".join(sorted(KINDS[label - 1] for label in labels.tolist())) or "nothing"
