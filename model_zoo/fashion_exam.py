"""What a network of garments is judged on: the pictures of Fashion-MNIST that nobody learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.fashion_mnist import CLASSES, coloured, fashion_mnist, fed, read_folder
from model_zoo.spec import Exam, Labels, Question
from model_zoo.tasks import CLASSIFICATION
from runtime.errors import GraphError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

_BATCH = 200


def exam_of(input_name: str, mean: float, scale: float) -> Exam:
    """For a network whose pixels are (grey - mean) * scale."""
    return Exam(
        data="Fashion-MNIST: the 10,000 test images, held out of the 60,000 that are learned from",
        labels=Labels.REAL,
        metrics=("top-1",),
        questions=partial(_questions, input_name, mean, scale),
        answers=_answers,
        say=_said,
    )


def _questions(
    input_name: str, mean: float, scale: float, folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """Raises UnavailableError where the archive cannot be fetched, UsageError for a folder without it."""
    test = (fashion_mnist(progress) if folder is None else read_folder(folder)).test
    for start in range(0, len(test), _BATCH):
        images, labels = (part[start : start + _BATCH] for part in (test.images, test.labels))
        yield Question(
            {input_name: fed(images, mean, scale)},
            labels.tolist(),
            [f"test image {start + index}" for index in range(len(labels))],
            [coloured(image) for image in images],
        )


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[Array]:
    """The scores [classes] of each image; raises GraphError for outputs of another kind."""
    (scores,) = outputs.values() if len(outputs) == 1 else (np.empty(0),)
    if scores.ndim != 2 or scores.shape[1] != len(CLASSES):
        raise GraphError(
            f"{CLASSIFICATION.name} of garments wants one output [images, {len(CLASSES)}]; the graph gives"
            f" { ({name: list(array.shape) for name, array in outputs.items()}) }"
        )
    return list(scores)


def _said(what: int | Array) -> str:
    return CLASSES[what if isinstance(what, int) else int(np.argmax(what))]
