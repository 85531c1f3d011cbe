"""What finders of text are judged on: scenes of words and photographs that nobody learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.backgrounds import JUDGED
from model_zoo.exam_parts import batched, refuse_folder
from model_zoo.icdar15_exam import Outlines
from model_zoo.metrics.objects import TrueText
from model_zoo.spec import Exam, Labels, Question, Split
from model_zoo.text_boxes import TextBoxes, corners
from model_zoo.word_scenes import Pieces, Scene, pieces_of, scene
from runtime.errors import CheckFailed
from runtime.progress import Progress
from runtime.tensors import Array, Feed

SCENES = 500
"""200 leave an interval of 1.8 % around a precision's share of FP32's f-measure: too wide for 99 %."""

_BATCH = 10


def exam_of(input_name: str, mean: Sequence[float], task: TextBoxes) -> Exam:
    """For a network that takes BGR less a mean."""
    return Exam(
        data=f"{SCENES} scenes of rendered words pasted on photographs; both were held out",
        labels=Labels.COMPOSED,
        metrics=("text-f-measure",),
        questions=partial(_questions, input_name, tuple(mean)),
        answers=partial(_answers, task),
        say=_said,
    )


def asked(input_name: str, mean: Sequence[float], pieces: Pieces) -> Iterator[Question]:
    """The exam, given what is held out."""
    for numbers in batched(range(SCENES), _BATCH):
        scenes = [scene(pieces, JUDGED, number) for number in numbers]
        images = np.stack([found.image for found in scenes])
        yield Question(
            {input_name: images[..., ::-1] - np.asarray(mean, np.float32)},
            [truth_of(found) for found in scenes],
            [
                f"scene {number}: {', '.join(found.texts)}"
                for number, found in zip(numbers, scenes, strict=True)
            ],
            list(images),
        )


def truth_of(found: Scene) -> TrueText:
    """As the metric takes it: every word is to be found."""
    return TrueText(tuple(corners(found.boxes)), np.ones(len(found.boxes), np.bool_))


def _questions(
    input_name: str, mean: Sequence[float], folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """Raises UnavailableError where the pieces cannot be fetched, or other ones are given."""
    refuse_folder(folder, "scenes of rendered words")
    return asked(input_name, mean, pieces_of(Split.EVALUATION, progress))


def _answers(task: TextBoxes, feed: Feed, outputs: Mapping[str, Array]) -> Sequence[Outlines | None]:
    """The texts of each image; None of a batch whose outputs hold NaN or infinity, else as `task.read`."""
    (images,) = feed.values()
    try:
        return [list(corners(boxes)) for boxes in task.read(outputs, len(images))]
    except CheckFailed:
        return [None] * len(images)


def _said(what: TrueText | Outlines) -> str:
    """Where the texts have their middles, from left to right."""
    outlines = what.outlines if isinstance(what, TrueText) else what
    middles = sorted(np.mean(outline, axis=0).round().astype(int).tolist() for outline in outlines)
    return f"{len(middles)} texts" + "".join(f", {across}/{down}" for across, down in middles)
