"""Weights trained in minutes from real data: rounds over a lesson, resumed where they were broken off."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_zoo.spec import Lesson
from runtime.errors import CheckFailed, UsageError
from runtime.files import replacing_file
from runtime.progress import Progress, silent
from runtime.tensors import Array

_KEY = "training/key"
_EPOCHS = "training/epochs"
_STATE = "training/state/"


@dataclass(frozen=True)
class EpochReport:
    """One round over the training data; `loss` is the mean over its steps."""

    epoch: int
    loss: float


def teach(
    lesson: Lesson, key: str, epochs: int, resume: Path, progress: Progress = silent
) -> Iterator[EpochReport]:
    """Do the epochs that are still to do, and report each.

    key:    says what is taught, how, and from which seed.
    resume: a file in which the lesson is kept after every epoch, and found again if it is of the same key.

    What is broken off goes on from the last whole epoch, and ends at the same weights as if it had not been.
    Raises CheckFailed where the loss is no number, StoreError where `resume` cannot be written.
    """
    for epoch in range(restore(lesson, key, resume), epochs):
        title = f"epoch {epoch + 1} of {epochs}"
        losses = list(progress(lesson.epoch(epoch), title, lesson.steps))
        mean = math.fsum(losses) / len(losses)
        if not math.isfinite(mean):
            raise CheckFailed(
                f"training diverged: the loss of epoch {epoch + 1} is {mean}; give another --seed"
            )
        keep(lesson, key, epoch + 1, resume)
        yield EpochReport(epoch + 1, mean)


def keep(lesson: Lesson, key: str, epochs: int, path: Path) -> None:
    """Write all that a lesson has become after `epochs` epochs."""
    state = {f"{_STATE}{index}": variable.numpy() for index, variable in enumerate(lesson.state)}
    marks = {_KEY: np.array(key), _EPOCHS: np.array(epochs)}
    write_arrays(path, {**marks, **weights_of(lesson), **state})


def restore(lesson: Lesson, key: str, path: Path) -> int:
    """Give a lesson what `keep` wrote of one with the same key; the epochs that it has had, 0 if none."""
    kept = _read(path)
    if kept is None or str(kept.get(_KEY)) != key:
        return 0
    given: list[tuple[Any, Array]] = []
    try:
        given += [(variable, kept[name]) for name, variable in lesson.weights.items()]
        given += [(variable, kept[f"{_STATE}{index}"]) for index, variable in enumerate(lesson.state)]
    except KeyError:
        return 0
    if any(tuple(variable.shape) != array.shape for variable, array in given):
        return 0
    for variable, array in given:
        variable.assign(array)
    return int(kept[_EPOCHS])


def weights_of(lesson: Lesson) -> dict[str, Array]:
    """The lesson's weights as they are now."""
    return {name: variable.numpy() for name, variable in lesson.weights.items()}


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an .npz; raises StoreError, and leaves what was there, where that fails."""
    with replacing_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _read(path: Path) -> dict[str, Array] | None:
    """The arrays of a file that `keep` wrote; None where there is none, or it is damaged."""
    from model_zoo.weights import read_weights

    try:
        return read_weights(path) if path.is_file() else None
    except UsageError:
        return None


Step = Callable[..., Any]


def compiled(step: Step) -> Step:
    """`step` as a TensorFlow graph, traced once for each form of its arguments."""
    import tensorflow as tf

    return tf.function(step, autograph=False, reduce_retracing=True)  # type: ignore[no-any-return]
