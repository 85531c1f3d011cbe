"""Single-shot detectors taught to find garments on photographs (`garment_scenes`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.batch_statistics import LEARNING
from model_zoo.detection_layers import ListedDetections
from model_zoo.garment_scenes import LEARNED, SIDE, Pieces, Scene, pieces_of, scene
from model_zoo.garments_exam import answers_of, fed, judged, truth_of
from model_zoo.learner import Learner
from model_zoo.metrics import get_measure
from model_zoo.network import Network
from model_zoo.prior_boxes import prior_boxes
from model_zoo.single_shot_loss import loss, matched
from model_zoo.spec import Split
from model_zoo.training import Step, compiled, weights_of
from runtime.progress import Progress, silent
from runtime.tensors import Array

_RATE = 0.002
_BATCH = 16

Tensor = Any  # TensorFlow ships no types


@dataclass(frozen=True)
class Course:
    """How long a detector learns: so many scenes in each epoch, no two of them alike."""

    epochs: int
    scenes: int = 1600


@dataclass(frozen=True)
class GarmentsLesson:
    """A Lesson (model_zoo.spec) over scenes that are composed as it goes.

    mean:    of the network's pixels, RGB.
    learned, held_out: what the scenes of either split are made of.
    """

    network: Network
    mean: tuple[float, float, float]
    course: Course
    learned: Pieces
    held_out: Pieces
    seed: int
    learner: Learner
    step: Step

    @classmethod
    def from_archives(
        cls,
        network: Network,
        mean: tuple[float, float, float],
        course: Course,
        seed: int,
        progress: Progress = silent,
    ) -> GarmentsLesson:
        """Nothing learned yet; raises UnavailableError where garments or photographs cannot be fetched."""
        learned, held_out = (pieces_of(split, progress) for split in Split)
        return cls.of(network, mean, course, (learned, held_out), seed)

    @classmethod
    def of(
        cls,
        network: Network,
        mean: tuple[float, float, float],
        course: Course,
        pieces: tuple[Pieces, Pieces],
        seed: int,
    ) -> GarmentsLesson:
        """Nothing learned yet; raises UnavailableError where TensorFlow is not installed."""
        learner = Learner.of(network.tensors(), seed, _RATE)
        step = compiled(_step_of(network, mean, learner))
        return cls(network, mean, course, *pieces, seed, learner, step)

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
        priors = priors_of(self.network)
        for index in range(self.steps):
            self.learner.move_on((number + index / self.steps) / self.epochs)
            keys = range(index * _BATCH, (index + 1) * _BATCH)
            scenes = [scene(self.learned, LEARNED, self.seed, number, k) for k in keys]
            yield float(self.step(*_teaching(scenes, priors)))

    def scores(self) -> Mapping[str, float]:
        """VOC's mean average precision on the scenes of the exam."""
        from model_zoo.layers_tensorflow import tensorflow_source

        source = tensorflow_source(self.network, weights_of(self))
        measure = get_measure("voc-map")
        metric = measure.make()
        for found in judged(self.held_out):
            feed = {self.network.input_name: fed([found], self.mean)}
            (answer,) = answers_of(feed, source.run(feed))
            metric.add(truth_of(found), answer)
        return {measure.title: metric.value()}


def detections_of(network: Network) -> ListedDetections:
    """The layer at the end of a detector in TensorFlow."""
    return next(layer for layer in network.layers if isinstance(layer, ListedDetections))


def priors_of(network: Network) -> Array:
    """[priors, 4], in the order of the network's scores."""
    sources = detections_of(network).sources
    maps = [network.maps[source.features] for source in sources]
    cells = [(features.height, features.width) for features in maps]
    return prior_boxes([source.boxes for source in sources], cells, network.input_size)


def _teaching(
    scenes: Sequence[Scene], priors: Array
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]:
    """Images [batch, 128, 128, 3], labels [batch, priors] and offsets [batch, priors, 4]."""
    pairs = [matched(found.labels, found.corners / SIDE, priors) for found in scenes]
    images = np.stack([found.image for found in scenes])
    return images, np.stack([labels for labels, _ in pairs]), np.stack([offsets for _, offsets in pairs])


def _step_of(network: Network, mean: Sequence[float], learner: Learner) -> Step:
    """From a batch (`_teaching`) to the loss; moves the weights."""
    import tensorflow as tf

    from model_zoo.detection_tensorflow import joined
    from model_zoo.layers_tensorflow import evaluate_several

    last = detections_of(network)
    wanted = [layer for source in last.sources for layer in (source.offsets, source.scores)]

    def step(images: Tensor, labels: Tensor, offsets: Tensor) -> Tensor:
        inputs = {network.input_name: tf.cast(images, tf.float32) - mean}
        with tf.GradientTape() as tape:
            found = evaluate_several(network, inputs, learner.weights, wanted, stand_ins=LEARNING)
            scores = joined([found[source.scores] for source in last.sources], last.classes)
            moves = joined([found[source.offsets] for source in last.sources], 4)
            value = loss(scores, moves, labels, offsets)
        learner.adam.step(tape.gradient(value, dict(learner.adam.variables)))
        return value

    return step
