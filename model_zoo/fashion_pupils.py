"""The networks that Fashion-MNIST teaches: small configurations of the reference models' own builders."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from model_zoo.batch_statistics import LEARNING, normalised
from model_zoo.fashion_lesson import Pupil
from model_zoo.network import Network
from model_zoo.resnet import BATCH_NORM_EPSILON, Convolution, ResNet
from model_zoo.resnet_seeded import branch_ends

Tensor = Any  # TensorFlow ships no types


def pupil_of(network: Network, mean: float = 0.0, scale: float = 1.0) -> Pupil:
    """A network that is described as layers; its pixels are (grey - mean) * scale."""
    return Pupil(network.tensors(), partial(_logits, network), mean, scale)


def _logits(network: Network, images: Tensor, weights: Mapping[str, Tensor], learns: bool) -> Tensor:
    import tensorflow as tf

    from model_zoo.layers_tensorflow import evaluate

    stand_ins = LEARNING if learns else {}
    found = evaluate(network, images, weights, network.output_name, stand_ins=stand_ins)
    return tf.reshape(found, (-1, network.classes))


def residual_pupil_of(network: ResNet) -> Pupil:
    """A ResNet of `resnet`; pixels are 0 to 255."""
    ends = frozenset(f"{part.batch_norm}/gamma" for part in branch_ends(network))
    return Pupil(network.shapes(), partial(_residual_logits, network), ends=ends)


def _residual_logits(network: ResNet, images: Tensor, weights: Mapping[str, Tensor], learns: bool) -> Tensor:
    from model_zoo.resnet_tensorflow import classify, convolve, features, normalise

    def layer(part: Convolution, x: Tensor) -> Tensor:
        convolved = convolve(part, x, weights)
        if learns:
            return normalised(part.batch_norm, convolved, weights, BATCH_NORM_EPSILON)
        return normalise(part, convolved, weights)

    return classify(features(network, images, layer), weights)
