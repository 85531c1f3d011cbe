"""What english_g2 is judged on: rendered words, none of which it was trained on as far as anybody knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_zoo.exam_parts import batched, refuse_folder
from model_zoo.spec import Exam, Labels, Question, Split
from model_zoo.text_recognition import BestPath, texts
from model_zoo.word_images import font_files, word_images, words
from runtime.progress import Progress
from runtime.tensors import Array, Feed

if TYPE_CHECKING:
    from model_zoo.text_lines import LineFeeds

WORDS = 1000
_BATCH = 50


def exam_of(feeds: LineFeeds, task: BestPath) -> Exam:
    """For a network that reads lines as `feeds` has them, letter by letter and case by case."""
    return Exam(
        data=f"{WORDS} words of CMU's dictionary, rendered in matplotlib's fonts, other ones than calibrate",
        labels=Labels.COMPOSED,
        metrics=("word-accuracy", "character-accuracy", "character-error-rate"),
        questions=partial(_questions, feeds),
        answers=partial(answers, task),
    )


def _questions(feeds: LineFeeds, folder: Path | None, progress: Progress) -> Iterator[Question]:
    """Raises UnavailableError where words or fonts cannot be fetched, or another set is given."""
    refuse_folder(folder, "rendered words")
    rendered = word_images(words(progress), font_files(progress), Split.EVALUATION)[:WORDS]
    for number, part in enumerate(batched(rendered, _BATCH)):
        images = [word() for word in part]
        fed = [feeds.of_image(image)[0] for image in images]
        yield Question(
            {name: np.concatenate([feed[name] for feed in fed]) for name in fed[0]},
            [word.text for word in part],
            [f"rendered word {number * _BATCH + place}" for place in range(len(part))],
            [np.asarray(image) for image in images],
        )


def answers(task: BestPath, feed: Feed, outputs: Mapping[str, Array]) -> Sequence[str | None]:
    """The text of each image, None where NaN or infinity is in it; raises GraphError for other outputs."""
    sound = {name: np.nan_to_num(array) for name, array in outputs.items()}
    read = texts(task.answers(sound), task.characters)
    (scores,) = outputs.values()
    return [text if np.isfinite(columns).all() else None for text, columns in zip(read, scores, strict=True)]
