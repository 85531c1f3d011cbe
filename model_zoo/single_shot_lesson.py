"""Single-shot detectors as pupils: what they are told of scenes of garments, and a step of learning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.batch_statistics import LEARNING
from model_zoo.detection_layers import ListedDetections
from model_zoo.garment_scenes import SIDE, Scene
from model_zoo.garments_exam import asked_of, exam_of
from model_zoo.learner import Learner
from model_zoo.network import Network
from model_zoo.prior_boxes import prior_boxes
from model_zoo.scene_lesson import Pupil
from model_zoo.single_shot_loss import loss, matched
from model_zoo.training import Step
from runtime.tensors import Array

Tensor = Any  # TensorFlow ships no types


def single_shot_pupil(network: Network, mean: tuple[float, float, float]) -> Pupil:
    """A detector in TensorFlow that takes RGB less `mean`."""
    return Pupil(
        network,
        exam_of(network.input_name, mean),
        asked_of(network.input_name, mean),
        partial(_teaching, priors_of(network)),
        partial(_step_of, network, mean),
    )


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
    priors: Array, scenes: Sequence[Scene], _: tuple[int, int]
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
