"""CPN as a pupil: what it is told of crops of garments, and a step of learning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.batch_statistics import LEARNING
from model_zoo.cpn_garments_exam import EXAM, asked, feed_of
from model_zoo.cpn_layers import GLOBAL_HEATMAPS, HEATMAPS
from model_zoo.garment_crops import Crop, crop
from model_zoo.heat_map_loss import loss
from model_zoo.learner import Learner
from model_zoo.network import Network
from model_zoo.scene_lesson import Pupil
from model_zoo.training import Step
from runtime.tensors import Array

Tensor = Any  # TensorFlow ships no types


def cpn_pupil(network: Network) -> Pupil:
    """A CPN that gives GlobalNet's heat maps, too."""
    return Pupil(
        network,
        EXAM,
        asked,
        _teaching,
        partial(_step_of, network),
        units=units_of(network),
        compose=partial(crop, varied=True),
    )


def units_of(network: Network) -> dict[str, float]:
    """How large the last normalisations' tensors are, whose heat maps run to 255."""
    return {
        f"{name}/{part}": head.deviation for name, head in network.heads.items() for part in ("gamma", "beta")
    }


def _teaching(crops: Sequence[Crop], _: tuple[int, int]) -> tuple[Array, NDArray[np.float64]]:
    """Images [batch, 128, 96, 3] as the network takes them, and key points [batch, 6, 2]."""
    (images,) = feed_of(crops).values()
    return images, np.stack([found.points for found in crops])


def _step_of(network: Network, learner: Learner) -> Step:
    """From a batch (`_teaching`) to the loss; moves the weights."""
    import tensorflow as tf

    from model_zoo.layers_tensorflow import evaluate_several

    refined, coarse = (network.outputs[name] for name in (HEATMAPS, GLOBAL_HEATMAPS))

    def step(images: Tensor, places: Tensor) -> Tensor:
        with tf.GradientTape() as tape:
            inputs = {network.input_name: images}
            found = evaluate_several(network, inputs, learner.weights, (refined, coarse), stand_ins=LEARNING)
            value = loss(found[refined], found[coarse], places)
        learner.adam.step(tape.gradient(value, dict(learner.adam.variables)))
        return value

    return step
