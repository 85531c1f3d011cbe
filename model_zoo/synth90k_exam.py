"""What CRNN is judged on: Synth90k's test images, in a user's folder.

Characters are taken to be numbered as in `labels.CHARACTERS`: AI Matrix' own order hangs on a hash, and a
file of weights does not say it (MODELS.md 13). Weights of another order read no word right, at any precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from model_zoo.crnn_english_exam import answers
from model_zoo.exam_frames import framed_questions
from model_zoo.labels import CHARACTERS
from model_zoo.spec import Exam, FeedSource, Labels, Question
from model_zoo.text_recognition import BestPath
from runtime.progress import Progress

DATA_SET = "synth90k"
_BATCH = 128


def exam_of(feeds: Callable[[], FeedSource], task: BestPath) -> Exam:
    """For a network of CHARACTERS and a blank; `feeds` makes its ImageFeeds."""
    return Exam(
        data="Synth90k's test images, out of --data: rendered words",
        labels=Labels.REAL,
        metrics=("word-accuracy", "character-accuracy", "character-error-rate"),
        questions=partial(_questions, feeds),
        answers=partial(answers, replace(task, characters=task.characters or CHARACTERS)),
    )


def _questions(
    feeds: Callable[[], FeedSource], folder: Path | None, progress: Progress
) -> Iterator[Question]:
    """Raises UnavailableError without a folder, UsageError for another one."""
    return framed_questions(DATA_SET, feeds, _BATCH, folder)
