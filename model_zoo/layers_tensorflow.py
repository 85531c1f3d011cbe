"""A network that is described as layers, in TensorFlow: variables, and a function of images.

TensorFlow also stands in for Caffe where a Caffe network's activations are measured (channels last).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model_zoo.layers import (
    SAME,
    BatchNorm,
    Concat,
    Convolution,
    Dropout,
    FeatureMap,
    GlobalAverage,
    InnerProduct,
    Layer,
    LocalResponse,
    Network,
    Pool,
    Relu,
    Scaling,
)
from runtime.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from exporters.source import Source

Tensor = Any  # TensorFlow ships no types
Tensors = Mapping[str, Tensor]

_OUTPUT = "logits"


def tensorflow_source(network: Network, weights: Mapping[str, Array]) -> Source:
    """The network with these weights: the input [batch, size, size, 3] to `logits` [batch, classes].

    Raises UnavailableError where TensorFlow is not installed.
    """
    from exporters.tensorflow import TensorFlowSource, import_tensorflow

    tf = import_tensorflow()
    variables = {
        name: tf.Variable(weights[name], trainable="/moving_" not in name, name=name)
        for name in network.tensors()
    }
    size = network.input_size
    return TensorFlowSource(
        lambda images: (evaluate(network, images, variables, network.output_name),),
        (TensorSpec(network.input_name, "float32", ("batch", size, size, 3)),),
        (_OUTPUT,),
        tuple(variable for variable in variables.values() if variable.trainable),
    )


def evaluate(
    network: Network,
    images: Tensor,
    weights: Tensors,
    wanted: str,
    prepare: Callable[[Layer, Tensor], None] | None = None,
) -> Tensor:
    """The output of the layer `wanted` for `images` [number, size, size, 3].

    prepare: called with every layer and its first bottom before the layer runs. What no layer still
        reads is let go.
    """
    readers = Counter(bottom for layer in network.layers for bottom in layer.bottoms)
    outputs = {network.input_name: images}
    for layer in network.layers:
        bottoms = [outputs[name] for name in layer.bottoms]
        if prepare:
            prepare(layer, bottoms[0])
        outputs[layer.name] = _OPERATIONS[type(layer)](layer, bottoms, weights)
        if layer.name == wanted:
            break
        readers.subtract(layer.bottoms)
        outputs = {name: output for name, output in outputs.items() if readers[name] > 0}
    return outputs[wanted]


def convolve(layer: Convolution, x: Tensor, kernel: Tensor) -> Tensor:
    """The convolution without its bias."""
    import tensorflow as tf

    padding = layer.padding
    pads = [[0, 0], [padding] * 2, [padding] * 2, [0, 0]]
    return tf.nn.conv2d(x, kernel, layer.stride, padding if padding == SAME else pads, name=layer.name)


def _convolution(layer: Convolution, bottoms: Sequence[Tensor], weights: Tensors) -> Tensor:
    import tensorflow as tf

    (x,) = bottoms
    if len(x.shape) == 2:  # a classifier of Caffe's that is a convolution, behind a global average
        x = x[:, tf.newaxis, tf.newaxis, :]
    convolved = convolve(layer, x, weights[f"{layer.name}/kernel"])
    return tf.nn.bias_add(convolved, weights[f"{layer.name}/bias"]) if layer.bias else convolved


def _batch_norm(layer: BatchNorm, bottoms: Sequence[Tensor], weights: Tensors) -> Tensor:
    import tensorflow as tf

    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    normalised, _, _ = tf.compat.v1.nn.fused_batch_norm(
        bottoms[0],
        *(weights[f"{layer.name}/{part}"] for part in parts),
        epsilon=layer.epsilon,
        is_training=False,
        name=layer.name,
    )
    return normalised


def _pool(layer: Pool, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    operation = {"MAX": tf.nn.max_pool2d, "AVE": tf.nn.avg_pool2d}[layer.kind]
    return operation(bottoms[0], layer.kernel, layer.stride, _pool_pads(layer, bottoms[0]), name=layer.name)


def _pool_pads(layer: Pool, x: Tensor) -> Any:
    """SAME wherever that is what Caffe's rule comes to: averages know no explicit pads."""
    if layer.padding == SAME:
        return SAME
    _, size, _, channels = x.shape
    windows = layer.output(FeatureMap(channels, size)).size
    total = max(0, (windows - 1) * layer.stride + layer.kernel - size)
    if windows == math.ceil(size / layer.stride) and layer.padding == total // 2:
        return SAME
    pads = [layer.padding, max(0, total - layer.padding)]
    return [[0, 0], pads, pads, [0, 0]] if any(pads) else "VALID"


def _local_response(layer: LocalResponse, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.nn.local_response_normalization(
        bottoms[0], layer.width // 2, 1.0, layer.alpha / layer.width, layer.beta, name=layer.name
    )


def _scaling(layer: Scaling, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    return bottoms[0] / layer.divisor + layer.offset


def _relu(layer: Relu, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.nn.relu(bottoms[0], name=layer.name)


def _concat(layer: Concat, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.concat(bottoms, axis=3, name=layer.name)


def _global_average(layer: GlobalAverage, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.reduce_mean(bottoms[0], axis=(1, 2), name=layer.name)


def _dropout(layer: Dropout, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    return bottoms[0]


def _inner_product(layer: InnerProduct, bottoms: Sequence[Tensor], weights: Tensors) -> Tensor:
    import tensorflow as tf

    product = tf.matmul(bottoms[0], weights[f"{layer.name}/kernel"], name=layer.name)
    return tf.nn.bias_add(product, weights[f"{layer.name}/bias"])


_OPERATIONS: Mapping[type[Layer], Callable[[Any, Sequence[Tensor], Tensors], Tensor]] = {
    BatchNorm: _batch_norm,
    Concat: _concat,
    Convolution: _convolution,
    Dropout: _dropout,
    GlobalAverage: _global_average,
    InnerProduct: _inner_product,
    LocalResponse: _local_response,
    Pool: _pool,
    Relu: _relu,
    Scaling: _scaling,
}
