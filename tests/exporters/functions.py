"""Small TensorFlow functions, each with the operators its ONNX should come down to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporters.tensorflow import TensorFlowSource, import_tensorflow
from runtime.tensors import Feed, TensorSpec
from tests.exporters.graphs import random


class Weights:
    """Makes seeded tf.Variables and remembers them."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def __call__(self, name: str, *shape: int, offset: float = 0.0) -> Any:
        tensorflow = import_tensorflow()
        value = random(*shape, seed=len(self.made)) * 0.2 + np.float32(offset)
        self.made.append(tensorflow.Variable(value, name=name))
        return self.made[-1]


IMAGE = (TensorSpec("images", "float32", ("batch", 9, 8, 3)),)
IDS = (TensorSpec("input_ids", "int32", ("batch", 6)), TensorSpec("input_mask", "int32", ("batch", 6)))


Build = Callable[[Any, Weights], Callable[..., Sequence[Any]]]


def conv_bn_relu(tf: Any, weights: Weights) -> Callable[..., Sequence[Any]]:
    kernel, shape = weights("conv/kernel", 3, 3, 3, 8), (8,)
    gamma, beta = weights("bn/gamma", *shape, offset=1.0), weights("bn/beta", *shape)
    mean, variance = weights("bn/mean", *shape), weights("bn/variance", *shape, offset=1.0)

    def function(images: Any) -> Sequence[Any]:
        padded = tf.pad(images / 127.5 - 1, [[0, 0], [1, 1], [1, 1], [0, 0]])
        x = tf.nn.conv2d(padded, kernel, 2, "VALID")
        x = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, epsilon=1e-4, is_training=False)[
            0
        ]
        return (tf.nn.relu(x),)

    return function


def small_residual(tf: Any, weights: Weights) -> Callable[..., Sequence[Any]]:
    stem, depthwise = weights("stem/kernel", 3, 3, 3, 40), weights("depthwise/kernel", 3, 3, 40, 1)
    point, scale = weights("point/kernel", 1, 1, 40, 40), weights("norm/scale", 40, offset=1.0)
    dense, bias = weights("dense/kernel", 40, 10), weights("dense/bias", 10)

    def function(images: Any) -> Sequence[Any]:
        x = tf.nn.relu(tf.nn.conv2d(images, stem, 2, "SAME"))
        x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        y = tf.nn.relu6(tf.nn.depthwise_conv2d(x, depthwise, [1, 1, 1, 1], "SAME"))
        x = tf.nn.relu(x + tf.nn.conv2d(y, point, 1, "VALID") * scale)
        return (tf.nn.softmax(tf.matmul(tf.reduce_mean(x, [1, 2]), dense) + bias), tf.reduce_max(x, [1, 2]))

    return function


def transformer(layers: int) -> Build:
    """BERT in small: 4 heads of 4, one attention and one wide layer each, two numbers per token."""

    def build(tf: Any, weights: Weights) -> Callable[..., Sequence[Any]]:
        table = weights("embedding/word", 50, 16)
        stack = [_encoder_layer(tf, weights, f"layer_{index}") for index in range(layers)]

        def function(ids: Any, mask: Any) -> Sequence[Any]:
            hidden = (1.0 - tf.cast(mask, tf.float32))[:, None, None, :] * -10000.0
            x = tf.gather(table, ids)
            for layer in stack:
                x = layer(x, hidden)
            return tuple(tf.unstack(x[:, :, :2], axis=-1))

        return function

    return build


def _encoder_layer(tf: Any, weights: Weights, name: str) -> Callable[[Any, Any], Any]:
    query, key, value = (weights(f"{name}/{role}/kernel", 16, 16) for role in ("query", "key", "value"))
    wide, narrow = weights(f"{name}/wide/kernel", 16, 32), weights(f"{name}/narrow/kernel", 32, 16)
    gamma, beta = weights(f"{name}/norm/gamma", 16, offset=1.0), weights(f"{name}/norm/beta", 16)

    def normalise(x: Any) -> Any:
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)

    def heads(x: Any) -> Any:
        return tf.transpose(tf.reshape(x, [-1, 6, 4, 4]), [0, 2, 1, 3])

    def layer(x: Any, hidden: Any) -> Any:
        scores = tf.matmul(heads(x @ query), heads(x @ key), transpose_b=True) / 2.0 + hidden
        context = tf.einsum("bhqk,bhkd->bqhd", tf.nn.softmax(scores), heads(x @ value))
        x = normalise(x + tf.reshape(context, [-1, 6, 16]))
        return normalise(x + tf.nn.gelu(x @ wide, approximate=True) @ narrow)

    return layer


def exact_gelu(tf: Any, weights: Weights) -> Callable[..., Sequence[Any]]:
    kernel = weights("kernel", 3, 16)
    return lambda images: (tf.nn.gelu(tf.matmul(images, kernel), approximate=False),)


def loop(tf: Any, weights: Weights) -> Callable[..., Sequence[Any]]:
    kernel = weights("cell/kernel", 16, 16)

    def function(ids: Any, mask: Any) -> Sequence[Any]:
        state = tf.cast(ids[:, :1], tf.float32) + tf.zeros([1, 16])
        steps = tf.reduce_sum(mask)
        step = lambda index, x: (index + 1, tf.tanh(x @ kernel))  # noqa: E731 - tf.while_loop's body
        return (tf.while_loop(lambda index, _: index < steps, step, (0, state))[1],)

    return function


@dataclass(frozen=True)
class Case:
    """A function, and the operators left of it; none given where only the answers matter."""

    build: Build
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    operators: Mapping[str, int]


CASES = {
    "conv_bn_relu": Case(
        conv_bn_relu, IMAGE, ("features",), {"Mul": 1, "Sub": 1, "Transpose": 2, "Conv": 1, "Relu": 1}
    ),
    "small_residual": Case(small_residual, IMAGE, ("scores", "peak"), {}),
    "transformer_layer": Case(transformer(1), IDS, ("start", "end"), {}),
    "exact_gelu": Case(exact_gelu, IMAGE, ("activated",), {"MatMul": 1, "Gelu": 1}),
    "loop": Case(loop, IDS, ("state",), {}),
}


def source(name: str) -> TensorFlowSource:
    return source_of(CASES[name])


def source_of(case: Case) -> TensorFlowSource:
    weights = Weights()
    function = case.build(import_tensorflow(), weights)
    return TensorFlowSource(function, case.inputs, case.outputs, tuple(weights.made))


def feed(name: str, batch_size: int, seed: int = 0) -> Feed:
    """Images of 0..255, ids below the table's 50 rows, a mask that hides the tail."""
    if CASES[name].inputs == IMAGE:
        return {"images": np.abs(random(batch_size, 9, 8, 3, seed=seed)) * 60}
    ids = np.random.default_rng(seed).integers(0, 50, (batch_size, 6)).astype(np.int32)
    mask = (np.arange(6) < 4).astype(np.int32)
    return {"input_ids": ids, "input_mask": np.tile(mask, (batch_size, 1))}
