"""Networks taught from scenes that are composed as it goes: of garments (`garment_scenes`), or of words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model_zoo.backgrounds import LEARNED
from model_zoo.garment_scenes import pieces_of, scene
from model_zoo.learner import Learner
from model_zoo.metrics import get_measure
from model_zoo.network import Network
from model_zoo.spec import Exam, Question, Split
from model_zoo.training import Step, compiled, weights_of
from runtime.progress import Progress, silent
from runtime.tensors import Array

_RATE = 0.002

Pieces = Any
"""What scenes of one split are made of, as a pupil's `compose` takes it."""


@dataclass(frozen=True)
class Course:
    """How long a network learns: so many scenes in each epoch, no two of them alike."""

    epochs: int
    scenes: int = 1600


@dataclass(frozen=True)
class Pupil:
    """A network that is to learn from scenes.

    exam, ask: what it is judged on, and the questions of that on any pieces.
    teaching: from scenes, and two numbers that no other step has, to what a step takes.
    step:     from what learns to a step, which gives the loss and moves the weights.
    zeros:    the tensors that begin at 0, beside biases.
    units:    of tensors whose values are not about 1 (Learner).
    pieces:   of either split; raises UnavailableError where they cannot be fetched.
    compose:  from pieces and a key to a scene.
    batch:    scenes of a step.
    """

    network: Network
    exam: Exam
    ask: Callable[[Pieces], Iterator[Question]]
    teaching: Callable[[Sequence[Any], tuple[int, int]], tuple[Array, ...]]
    step: Callable[[Learner], Step]
    zeros: frozenset[str] = frozenset()
    units: Mapping[str, float] = field(default_factory=dict)
    pieces: Callable[[Split, Progress], Pieces] = pieces_of
    compose: Callable[..., Any] = scene
    batch: int = 16


@dataclass(frozen=True)
class SceneLesson:
    """A Lesson (model_zoo.spec) over scenes that are composed as it goes.

    learned, held_out: what the scenes of either split are made of.
    """

    pupil: Pupil
    course: Course
    learned: Pieces
    held_out: Pieces
    seed: int
    learner: Learner
    step: Step

    @classmethod
    def from_archives(
        cls, pupil: Pupil, course: Course, seed: int, progress: Progress = silent
    ) -> SceneLesson:
        """Nothing learned yet; raises UnavailableError where pieces of scenes cannot be fetched."""
        learned, held_out = (pupil.pieces(split, progress) for split in Split)
        return cls.of(pupil, course, (learned, held_out), seed)

    @classmethod
    def of(cls, pupil: Pupil, course: Course, pieces: tuple[Pieces, Pieces], seed: int) -> SceneLesson:
        """Nothing learned yet; raises UnavailableError where TensorFlow is not installed."""
        learner = Learner.of(pupil.network.tensors(), seed, _RATE, pupil.zeros, pupil.units)
        return cls(pupil, course, *pieces, seed, learner, compiled(pupil.step(learner)))

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
        return self.course.scenes // self.pupil.batch

    def epoch(self, number: int) -> Iterator[float]:
        """Scenes that no other epoch has."""
        for index in range(self.steps):
            self.learner.move_on((number + index / self.steps) / self.epochs)
            keys = range(index * self.pupil.batch, (index + 1) * self.pupil.batch)
            scenes = [self.pupil.compose(self.learned, LEARNED, self.seed, number, k) for k in keys]
            key = self.seed, number * self.steps + index
            yield float(self.step(*self.pupil.teaching(scenes, key)))

    def scores(self) -> Mapping[str, float]:
        """What the exam's metrics say of its scenes."""
        from model_zoo.layers_tensorflow import tensorflow_source

        source, exam = tensorflow_source(self.pupil.network, weights_of(self)), self.pupil.exam
        metrics = {name: get_measure(name).make() for name in exam.metrics}
        for question in self.pupil.ask(self.held_out):
            answers = exam.answers(question.feed, source.run(question.feed))
            for truth, answer in zip(question.truths, answers, strict=True):
                for metric in metrics.values():
                    metric.add(truth, answer)
        return {get_measure(name).title: metric.value() for name, metric in metrics.items()}
