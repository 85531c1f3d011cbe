"""SegLink as a pupil: what it is told of scenes of words (`word_scenes`), and a step of learning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from model_zoo import batch_statistics, dilated_convolution
from model_zoo.learner import Learner
from model_zoo.network import Network
from model_zoo.scene_lesson import Pupil
from model_zoo.seglink_layers import SegmentGeometry
from model_zoo.seglink_loss import loss
from model_zoo.seglink_truth import Truth, truth_of
from model_zoo.spec import Exam
from model_zoo.training import Step
from model_zoo.word_scenes import Scene, pieces_of, scene
from model_zoo.words_exam import asked
from runtime.tensors import Array

_BATCH = 8
_UNITS = {"conv4_3_norm/gamma": 20.0}
"""As SSD's training has it, from which the network is (Liu et al. 2015, section 3.1)."""

Tensor = Any  # TensorFlow ships no types


def words_pupil(network: Network, mean: tuple[float, float, float], exam: Exam) -> Pupil:
    """A SegLink that takes BGR less `mean`."""
    return Pupil(
        network,
        exam,
        partial(asked, network.input_name, mean),
        partial(_teaching, geometry_of(network)),
        partial(_step_of, network, mean),
        units=_UNITS,
        pieces=pieces_of,
        compose=scene,
        batch=_BATCH,
    )


def geometry_of(network: Network) -> SegmentGeometry:
    """The layer that says where the cells are."""
    return next(layer for layer in network.layers if isinstance(layer, SegmentGeometry))


def _teaching(
    geometry: SegmentGeometry, scenes: Sequence[Scene], _: tuple[int, int]
) -> tuple[Array, Array, Array, Array]:
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
