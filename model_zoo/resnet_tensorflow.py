"""A ResNet in TensorFlow: variables, and a function of RGB images that gives logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from model_zoo.resnet import BATCH_NORM_EPSILON, CLASSIFIER, Convolution, ResNet
from runtime.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from exporters.source import Source

Tensor = Any  # TensorFlow ships no types
Layer = Callable[[Convolution, Tensor], Tensor]
"""Applies a convolution with its batch normalisation."""

_STATISTICS = ("moving_mean", "moving_variance")  # not learned


def tensorflow_source(network: ResNet, weights: Mapping[str, Array]) -> Source:
    """The network with these weights: `images` [batch, size, size, 3] RGB 0..255 to `logits`.

    Raises UnavailableError where TensorFlow is not installed.
    """
    from exporters.tensorflow import TensorFlowSource, import_tensorflow

    tf = import_tensorflow()
    variables = {
        name: tf.Variable(weights[name], trainable=not name.endswith(_STATISTICS), name=name)
        for name in network.shapes()
    }

    def logits(images: Tensor) -> tuple[Tensor]:
        pooled = features(
            network, images, lambda part, x: normalise(part, convolve(part, x, variables), variables)
        )
        return (classify(pooled, variables),)

    size = network.input_size
    return TensorFlowSource(
        logits,
        (TensorSpec("images", "float32", ("batch", size, size, 3)),),
        ("logits",),
        tuple(variable for variable in variables.values() if variable.trainable),
    )


def features(network: ResNet, images: Tensor, layer: Layer) -> Tensor:
    """Everything up to the pooled features, `layer` being what is done at each convolution.

    Operations are named after Caffe's layers, so that both frameworks' graphs can be read side by side.
    """
    import tensorflow as tf

    x = images / 127.5 - 1.0
    x = tf.nn.relu(layer(network.stem, x))
    x = tf.nn.max_pool2d(x, 3, 2, "SAME", name="pool1")
    for block in network.blocks:
        shortcut = layer(block.projection, x) if block.projection else x
        for part in block.branch[:-1]:
            x = tf.nn.relu(layer(part, x))
        x = tf.nn.relu(tf.add(layer(block.branch[-1], x), shortcut, name=block.name))
    return tf.reduce_mean(x, axis=(1, 2), name="pool5")


def convolve(part: Convolution, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """The convolution alone, with symmetric pads as in Caffe (SAME would shift conv1 by a pixel)."""
    import tensorflow as tf

    pads = [[0, 0], [part.padding] * 2, [part.padding] * 2, [0, 0]]
    return tf.nn.conv2d(x, weights[f"{part.name}/kernel"], part.stride, pads, name=part.name)


def normalise(part: Convolution, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Batch normalisation with the stored statistics."""
    import tensorflow as tf

    gamma, beta, mean, variance = (
        weights[f"{part.batch_norm}/{name}"] for name in ("gamma", "beta", *_STATISTICS)
    )
    normalised, _, _ = tf.compat.v1.nn.fused_batch_norm(
        x,
        gamma,
        beta,
        mean,
        variance,
        epsilon=BATCH_NORM_EPSILON,
        is_training=False,
        name=part.batch_norm,
    )
    return normalised


def classify(pooled: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """The classifier's logits of pooled features."""
    import tensorflow as tf

    product = tf.matmul(pooled, weights[f"{CLASSIFIER}/kernel"], name=CLASSIFIER)
    return tf.nn.bias_add(product, weights[f"{CLASSIFIER}/bias"])
