"""What classifiers of ImageNet are judged on: a user's validation images, or 20 photographs that are at hand.

The photographs also find ranges, ten of them: what they say of INT8 is kind to it, and 20 decide little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_zoo.exam_parts import batched
from model_zoo.photographs import decode, photographs
from model_zoo.spec import Exam, FeedSource, Labels, Question, Variant
from model_zoo.tasks import CLASSIFICATION
from runtime.errors import GraphError, UsageError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

if TYPE_CHECKING:
    from PIL.Image import Image

CLASSES = 1000
_BATCH = 20

Labelled = tuple["Image", int, str]
"""An image, its class, and what it is called."""


def judged_on_imagenet(variant: Variant) -> Variant:
    """The same with this exam, as the variant's first framework takes images."""
    framework = next(iter(variant.build))
    exam = exam_of(partial(variant.feeds, framework))
    return replace(variant, exams=(replace(exam, frameworks=(framework,)),))


def exam_of(feeds: Callable[[], FeedSource]) -> Exam:
    """For a network of 1000 classes in the order of their synsets; `feeds` makes its ImageFeeds."""
    return Exam(
        data="ImageNet's validation images, given with --data; else foolbox's 20, half of which calibrate",
        labels=Labels.REAL,
        metrics=("top-1", "top-5"),
        questions=partial(_questions, feeds),
        answers=_answers,
        say=_said,
    )


def _questions(
    feeds: Callable[[], FeedSource], folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """Raises UnavailableError where the photographs cannot be fetched, UsageError for another folder."""
    from model_zoo.image_feeds import ImageFeeds

    source = feeds()
    if not isinstance(source, ImageFeeds):
        raise UsageError(f"{type(source).__name__} does not feed images, which ImageNet consists of")
    labelled = _photographs(progress) if folder is None else _of_folder(folder)
    for part in batched(labelled, _BATCH):
        fed = [source.of_image(image)[0] for image, _, _ in part]
        yield Question(
            {name: np.concatenate([feed[name] for feed in fed]) for name in fed[0]},
            [label for _, label, _ in part],
            [name for _, _, name in part],
            [np.asarray(image) for image, _, _ in part],
        )


def _photographs(progress: Progress) -> Iterator[Labelled]:
    for photograph in photographs(progress):
        if photograph.label is not None:
            yield decode(photograph.path), photograph.label, photograph.name


def _of_folder(folder: Path) -> Iterator[Labelled]:
    from model_zoo.datasets import recognised, samples

    known = [data_set.name for data_set, _ in recognised(folder) if data_set.name.startswith("imagenet")]
    if not known:
        raise UsageError(f"{folder} does not hold ImageNet's validation images; see `bench data list`")
    for sample in samples(known[0], folder):
        yield sample.raw.open(), sample.truth, sample.name


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[Array]:
    """The scores [classes] of each image; raises GraphError for outputs of another kind."""
    images = len(next(iter(feed.values())))
    (scores,) = outputs.values() if len(outputs) == 1 else (np.empty(0),)
    if scores.size != images * CLASSES or len(scores) != images:
        shapes = {name: list(array.shape) for name, array in outputs.items()}
        raise GraphError(
            f"{CLASSIFICATION.name} of ImageNet wants one output [{images}, {CLASSES}], the graph gives"
            f" {shapes}"
        )
    return list(scores.reshape(images, CLASSES))


def _said(what: int | Array) -> str:
    return f"class {what if isinstance(what, int) else int(np.argmax(what))}"
