"""Networks of images taught to tell ten kinds of garments apart, on Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.fashion_mnist import FashionMnist, Pictures, fashion_mnist, framed
from model_zoo.layers import Shape
from model_zoo.learner import Learner
from model_zoo.metrics import get_measure
from model_zoo.training import Step, compiled
from runtime.progress import Progress, silent
from runtime.tensors import Array

_FARTHEST_SHIFT = 2
_JUDGED_AT_ONCE = 500

Tensor = Any  # TensorFlow ships no types


@dataclass(frozen=True)
class Pupil:
    """A network that can be taught.

    shapes: its tensors, by name.
    logits: from images [batch, height, width, 3] as the network takes them, its tensors and whether it is
            learning to [batch, classes].
    ends:   names of the tensors that begin at 0: gammas at the end of a residual branch, so that every block
            begins as its shortcut (Goyal et al. 2017, section 5.1).
    """

    shapes: Mapping[str, Shape]
    logits: Callable[[Tensor, Mapping[str, Tensor], bool], Tensor]
    mean: float = 0.0
    scale: float = 1.0
    ends: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Course:
    """How long a network learns, in batches of how many pictures, and Adam's highest rate."""

    epochs: int
    batch: int = 128
    rate: float = 0.003


@dataclass(frozen=True)
class FashionLesson:
    """A Lesson (model_zoo.spec) over the pictures that are learned from."""

    pupil: Pupil
    course: Course
    data: FashionMnist
    seed: int
    learner: Learner
    step: Step

    @classmethod
    def from_archive(
        cls, pupil: Pupil, course: Course, seed: int, progress: Progress = silent
    ) -> FashionLesson:
        """Nothing learned yet; raises UnavailableError where Fashion-MNIST cannot be fetched."""
        return cls.of(pupil, course, fashion_mnist(progress), seed)

    @classmethod
    def of(cls, pupil: Pupil, course: Course, data: FashionMnist, seed: int) -> FashionLesson:
        """Nothing learned yet; raises UnavailableError where TensorFlow is not installed."""
        learner = Learner.of(pupil.shapes, seed, course.rate, pupil.ends)
        return cls(pupil, course, data, seed, learner, compiled(_step_of(pupil, learner)))

    @property
    def weights(self) -> Mapping[str, Any]:
        return self.learner.weights

    @property
    def state(self) -> Sequence[Any]:
        return self.learner.adam.state

    @property
    def epochs(self) -> int:
        return self.course.epochs

    @property
    def steps(self) -> int:
        return len(self.data.training) // self.course.batch

    def epoch(self, number: int) -> Iterator[float]:
        """The pictures once, in an order of the epoch's own, each moved a little and maybe mirrored.

        Those that do not fill a batch are left out: each epoch other ones.
        """
        generator = np.random.Generator(np.random.Philox([self.seed, number]))
        order = generator.permutation(len(self.data.training))
        for index in range(self.steps):
            self.learner.move_on((number + index / self.steps) / self.epochs)
            chosen = order[index * self.course.batch : (index + 1) * self.course.batch]
            pictures = varied(framed(self.data.training.images[chosen]), generator)
            yield float(self.step(pictures, self.data.training.labels[chosen].astype(np.int32)))

    def scores(self) -> Mapping[str, float]:
        """The share of held-out pictures whose kind is found."""
        measure = get_measure("top-1")
        metric = measure.make()
        for label, scores in zip(self.data.test.labels, self._answers(self.data.test), strict=True):
            metric.add(int(label), scores)
        return {measure.title: metric.value()}

    def _answers(self, pictures: Pictures) -> Iterator[Array]:
        logits = compiled(lambda images: self.pupil.logits(_fed(self.pupil, images), self.weights, False))
        for start in range(0, len(pictures), _JUDGED_AT_ONCE):
            yield from logits(framed(pictures.images[start : start + _JUDGED_AT_ONCE])).numpy()


def varied(images: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Each of [n, height, width] moved by up to two pixels each way, and every other one mirrored."""
    count, height, width = images.shape
    room = np.pad(images, ((0, 0), (_FARTHEST_SHIFT,) * 2, (_FARTHEST_SHIFT,) * 2))
    down, right = generator.integers(0, 2 * _FARTHEST_SHIFT + 1, (2, count))
    rows = down[:, np.newaxis] + np.arange(height)
    columns = right[:, np.newaxis] + np.arange(width)
    mirrored = generator.random(count) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    pictures = np.arange(count)[:, np.newaxis, np.newaxis]
    moved: NDArray[np.uint8] = room[pictures, rows[:, :, np.newaxis], columns[:, np.newaxis]]
    return moved


def _fed(pupil: Pupil, images: Tensor) -> Tensor:
    """Grey bytes [batch, height, width] as the network takes images."""
    import tensorflow as tf

    values = (tf.cast(images, tf.float32) - pupil.mean) * pupil.scale
    return tf.repeat(values[..., tf.newaxis], 3, axis=-1)


def _step_of(pupil: Pupil, learner: Learner) -> Step:
    """From pictures [batch, height, width] and their classes to the mean cross entropy; moves the weights."""
    import tensorflow as tf

    def step(pictures: Tensor, labels: Tensor) -> Tensor:
        with tf.GradientTape() as tape:
            logits = pupil.logits(_fed(pupil, pictures), learner.weights, True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        learner.adam.step(tape.gradient(loss, dict(learner.adam.variables)))
        return loss

    return step
