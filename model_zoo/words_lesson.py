"""SegLink taught to find words on photographs (`word_scenes`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_zoo import batch_statistics, dilated_convolution
from model_zoo.exam_parts import judged
from model_zoo.garments_lesson import Course
from model_zoo.icdar15_exam import Outlines
from model_zoo.learner import Learner
from model_zoo.metrics.objects import TrueText
from model_zoo.network import Network
from model_zoo.seglink_layers import SegmentGeometry
from model_zoo.seglink_loss import loss
from model_zoo.seglink_truth import Truth, truth_of
from model_zoo.spec import Exam, Split
from model_zoo.training import Step, compiled, weights_of
from model_zoo.word_scenes import LEARNED, Pieces, Scene, pieces_of, scene
from model_zoo.words_exam import asked
from runtime.progress import Progress, silent
from runtime.tensors import Array

_RATE = 0.002
_BATCH = 8
_UNITS = {"conv4_3_norm/gamma": 20.0}
"""As SSD's training has it, from which the network is (Liu et al. 2015, section 3.1)."""

Tensor = Any  # TensorFlow ships no types


@dataclass(frozen=True)
class Taught:
    """A SegLink, the mean of its pixels, BGR, and what it is judged on."""

    network: Network
    mean: tuple[float, float, float]
    exam: Exam


@dataclass(frozen=True)
class WordsLesson:
    """A Lesson (model_zoo.spec) over scenes that are composed as it goes.

    learned, held_out: what the scenes of either split are made of.
    """

    taught: Taught
    course: Course
    learned: Pieces
    held_out: Pieces
    seed: int
    learner: Learner
    step: Step

    @classmethod
    def from_archives(
        cls, taught: Taught, course: Course, seed: int, progress: Progress = silent
    ) -> WordsLesson:
        """Nothing learned yet; raises UnavailableError where words or photographs cannot be fetched."""
        learned, held_out = (pieces_of(split, progress) for split in Split)
        return cls.of(taught, course, (learned, held_out), seed)

    @classmethod
    def of(cls, taught: Taught, course: Course, pieces: tuple[Pieces, Pieces], seed: int) -> WordsLesson:
        """Nothing learned yet; raises UnavailableError where TensorFlow is not installed."""
        learner = Learner.of(taught.network.tensors(), seed, _RATE, units=_UNITS)
        step = compiled(_step_of(taught.network, taught.mean, learner))
        return cls(taught, course, *pieces, seed, learner, step)

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
        return self.course.scenes // _BATCH

    def epoch(self, number: int) -> Iterator[float]:
        """Scenes that no other epoch has."""
        geometry = geometry_of(self.taught.network)
        for index in range(self.steps):
            self.learner.move_on((number + index / self.steps) / self.epochs)
            keys = range(index * _BATCH, (index + 1) * _BATCH)
            scenes = [scene(self.learned, LEARNED, self.seed, number, k) for k in keys]
            yield float(self.step(*_teaching(scenes, geometry)))

    def scores(self) -> Mapping[str, float]:
        """ICDAR's f-measure on the scenes of the exam."""
        from model_zoo.layers_tensorflow import tensorflow_source

        source, exam = tensorflow_source(self.taught.network, weights_of(self)), self.taught.exam
        truths: list[TrueText] = []
        answers: list[Outlines | None] = []
        for question in asked(self.taught.network.input_name, self.taught.mean, self.held_out):
            truths += question.truths
            answers += exam.answers(question.feed, source.run(question.feed))
        return judged(exam.metrics, truths, answers)


def geometry_of(network: Network) -> SegmentGeometry:
    """The layer that says where the cells are."""
    return next(layer for layer in network.layers if isinstance(layer, SegmentGeometry))


def _teaching(scenes: Sequence[Scene], geometry: SegmentGeometry) -> tuple[Array, Array, Array, Array]:
    """Images [batch, 192, 192, 3], segments [batch, cells], their offsets, and links [batch, links]."""
    truths = [truth_of(found.boxes, geometry) for found in scenes]
    return (
        np.stack([found.image for found in scenes]),
        np.stack([truth.segments for truth in truths]),
        np.stack([truth.offsets for truth in truths]),
        np.stack([_links(truth) for truth in truths]),
    )


def _links(truth: Truth) -> Array:
    links: Array = np.concatenate([truth.local.reshape(-1), truth.cross.reshape(-1)])
    return links


def _step_of(network: Network, mean: Sequence[float], learner: Learner) -> Step:
    """From a batch (`_teaching`) to the loss; moves the weights."""
    import tensorflow as tf

    from model_zoo.layers_tensorflow import evaluate_several

    stand_ins = {**batch_statistics.LEARNING, **dilated_convolution.LEARNING}
    wanted = ("cls", "reg", "local_lnk", "cross_lnk")

    def step(images: Tensor, segments: Tensor, offsets: Tensor, links: Tensor) -> Tensor:
        inputs = {network.input_name: tf.cast(images[..., ::-1], tf.float32) - mean}
        with tf.GradientTape() as tape:
            scores, places, *joined = evaluate_several(
                network, inputs, learner.weights, wanted, stand_ins=stand_ins
            ).values()
            pairs = [tf.reshape(each, (tf.shape(each)[0], -1, 2)) for each in joined]
            value = loss(scores, places, tf.concat(pairs, axis=1), (segments, offsets, links))
        learner.adam.step(tape.gradient(value, dict(learner.adam.variables)))
        return value

    return step
