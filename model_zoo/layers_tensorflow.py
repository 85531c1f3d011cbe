"""A network that is described as layers, in TensorFlow: variables, and a function of images.

TensorFlow also stands in for Caffe where a Caffe network's activations are measured (channels last).
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial, reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from model_zoo import crnn_tensorflow, mask_rcnn_tensorflow
from model_zoo.detection_layers import ListedDetections, Part
from model_zoo.detection_tensorflow import listed_detections, part
from model_zoo.layers import (
    SAME,
    BatchNorm,
    Concat,
    Convolution,
    Deconvolution,
    Dropout,
    Eltwise,
    FeatureMap,
    GlobalAverage,
    InnerProduct,
    Layer,
    LocalResponse,
    Normalize,
    Pool,
    Relu,
    Resize,
    Scaling,
    Upsample,
    Weighted,
)
from model_zoo.network import Network, without_post_processing
from model_zoo.seglink_layers import Cells, PairSoftmax, SegmentGeometry
from model_zoo.seglink_tensorflow import cells, pair_softmax, segment_geometry
from runtime.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from exporters.tensorflow import TensorFlowSource

Tensor = Any  # TensorFlow ships no types
Tensors = Mapping[str, Tensor]
Operation = Callable[[Any, Sequence[Tensor], Tensors], Tensor]
"""A layer, its bottoms and all weights, to its output."""

_OUTPUT = "logits"


def tensorflow_source(network: Network, weights: Mapping[str, Array]) -> TensorFlowSource:
    """The network with these weights: [batch, height, width, 3], and its side inputs, to its outputs.

    They are `network.outputs`, or `logits`, the last layer's.

    Raises UnavailableError where TensorFlow is not installed.
    """
    from exporters.tensorflow import TensorFlowSource, import_tensorflow

    tf = import_tensorflow()
    variables = {
        name: tf.Variable(weights[name], trainable="/moving_" not in name, name=name)
        for name in network.tensors()
    }
    outputs = network.outputs or {_OUTPUT: network.output_name}

    cut = without_post_processing(network)
    shapes = {network.input_name: (*network.input_size, network.input_channels), **network.side_inputs}

    def function(*inputs: Tensor) -> tuple[Tensor, ...]:
        found = evaluate_several(network, dict(zip(shapes, inputs, strict=True)), variables, outputs.values())
        return tuple(found[layer] for layer in outputs.values())

    return TensorFlowSource(
        function,
        tuple(TensorSpec(name, "float32", ("batch", *shape)) for name, shape in shapes.items()),
        tuple(outputs),
        tuple(variable for variable in variables.values() if variable.trainable),
        lists=(tuple(outputs),) if network.listed else (),
        raw=None if cut is network else partial(_cut_source, cut, weights),
    )


def _cut_source(network: Network, weights: Mapping[str, Array]) -> TensorFlowSource:
    return tensorflow_source(network, {name: weights[name] for name in network.tensors()})


def evaluate(
    network: Network,
    images: Tensor,
    weights: Tensors,
    wanted: str,
    prepare: Callable[[Layer, Tensor], None] | None = None,
    stand_ins: Mapping[type[Layer], Operation] = MappingProxyType({}),
) -> Tensor:
    """The output of the layer `wanted` for images alone; see evaluate_several."""
    inputs = {network.input_name: images, **dict.fromkeys(network.side_inputs)}
    return evaluate_several(network, inputs, weights, (wanted,), prepare, stand_ins)[wanted]


def evaluate_several(
    network: Network,
    inputs: Mapping[str, Tensor],
    weights: Tensors,
    wanted: Collection[str],
    prepare: Callable[[Layer, Tensor], None] | None = None,
    stand_ins: Mapping[type[Layer], Operation] = MappingProxyType({}),
) -> dict[str, Tensor]:
    """The outputs of the layers `wanted`, by name; images are [number, height, width, 3].

    prepare: called with every layer and its first bottom before the layer runs. What no layer still
        reads is let go.
    stand_ins: what to do at layers that TensorFlow has nothing for.
    """
    operations = {**_OPERATIONS, **stand_ins}
    readers = Counter(bottom for layer in network.layers for bottom in layer.bottoms)
    outputs = dict(inputs)
    for layer in network.layers:
        bottoms = [outputs[name] for name in layer.bottoms]
        if prepare:
            prepare(layer, bottoms[0])
        outputs[layer.name] = operations[type(layer)](layer, bottoms, weights)
        if outputs.keys() >= set(wanted):
            break
        readers.subtract(layer.bottoms)
        outputs = {name: output for name, output in outputs.items() if readers[name] > 0 or name in wanted}
    return {name: outputs[name] for name in wanted}


def product(layer: Weighted, x: Tensor, kernel: Tensor) -> Tensor:
    """What a layer with a kernel makes of `x`, without its bias."""
    if isinstance(layer, Convolution):
        return _convolved(layer, x, kernel)
    return (
        _deconvolved(layer, x, kernel) if isinstance(layer, Deconvolution) else _multiplied(layer, x, kernel)
    )


def _convolved(layer: Convolution, x: Tensor, kernel: Tensor) -> Tensor:
    import tensorflow as tf

    if len(x.shape) == 2:  # a classifier of Caffe's that is a convolution, behind a global average
        x = x[:, tf.newaxis, tf.newaxis, :]
    padding = layer.padding
    pads = [[0, 0], [padding] * 2, [padding] * 2, [0, 0]]
    return tf.nn.conv2d(
        x,
        kernel,
        layer.stride,
        padding if padding == SAME else pads,
        dilations=layer.dilation,
        name=layer.name,
    )


def _deconvolved(layer: Deconvolution, x: Tensor, kernel: Tensor) -> Tensor:
    import tensorflow as tf

    output = layer.output(FeatureMap(x.shape[3], x.shape[1], x.shape[2]))
    pads = [[0, 0], [layer.padding] * 2, [layer.padding] * 2, [0, 0]]
    return tf.nn.conv2d_transpose(
        x,
        tf.transpose(kernel, (0, 1, 3, 2)),
        (tf.shape(x)[0], output.height, output.width, layer.channels),
        layer.stride,
        pads,
        name=layer.name,
    )


def _multiplied(layer: InnerProduct, x: Tensor, kernel: Tensor) -> Tensor:
    import tensorflow as tf

    if len(x.shape) == 4:
        x = tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (-1, kernel.shape[0]))
    return tf.matmul(x, kernel, name=layer.name)


def _weighted(layer: Weighted, bottoms: Sequence[Tensor], weights: Tensors) -> Tensor:
    import tensorflow as tf

    result = product(layer, bottoms[0], weights[f"{layer.owner}/kernel"])
    return tf.nn.bias_add(result, weights[f"{layer.owner}/bias"]) if layer.bias else result


def _eltwise(layer: Eltwise, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    return reduce({"SUM": operator.add, "PROD": operator.mul}[layer.operation], bottoms)


def _normalize(layer: Normalize, bottoms: Sequence[Tensor], weights: Tensors) -> Tensor:
    import tensorflow as tf

    squares = tf.reduce_sum(tf.square(bottoms[0]), axis=-1, keepdims=True)
    if layer.clamped:
        return bottoms[0] * tf.math.rsqrt(tf.maximum(squares, 1e-12)) * weights[f"{layer.name}/gamma"]
    return bottoms[0] / tf.sqrt(squares + 1e-10) * weights[f"{layer.name}/gamma"]


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
    _, *sizes, channels = x.shape
    output = layer.output(FeatureMap(channels, *sizes))
    pads = [
        _pool_pad(layer, size, windows)
        for size, windows in zip(sizes, (output.height, output.width), strict=True)
    ]
    if all(same for _, same in pads):
        return SAME
    explicit = [pad for pad, _ in pads]
    return [[0, 0], *explicit, [0, 0]] if any(map(any, explicit)) else "VALID"


def _pool_pad(layer: Pool, size: int, windows: int) -> tuple[list[int], bool]:
    """The pads of one dimension before and behind, and whether SAME gives the same windows."""
    total = max(0, (windows - 1) * layer.stride + layer.kernel - size)
    before = int(layer.padding)
    same = windows == math.ceil(size / layer.stride) and before == total // 2
    return [before, max(0, total - before)], same


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


def _resize(layer: Resize, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    # tf.compat.v1.image.resize_bilinear without its advice, which is to interpolate elsewhere
    return tf.raw_ops.ResizeBilinear(
        images=bottoms[0], size=(layer.height, layer.width), half_pixel_centers=False, name=layer.name
    )


def _upsample(layer: Upsample, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    size = tuple(layer.factor * side for side in bottoms[0].shape[1:3])
    return tf.raw_ops.ResizeNearestNeighbor(
        images=bottoms[0], size=size, half_pixel_centers=False, name=layer.name
    )


def _concat(layer: Concat, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.concat(bottoms, axis=3, name=layer.name)


def _global_average(layer: GlobalAverage, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.reduce_mean(bottoms[0], axis=(1, 2), name=layer.name)


def _dropout(layer: Dropout, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    return bottoms[0]


_OPERATIONS: Mapping[type[Layer], Operation] = {
    **crnn_tensorflow.OPERATIONS,
    **mask_rcnn_tensorflow.OPERATIONS,
    BatchNorm: _batch_norm,
    Cells: cells,
    Concat: _concat,
    Convolution: _weighted,
    Deconvolution: _weighted,
    Dropout: _dropout,
    Eltwise: _eltwise,
    GlobalAverage: _global_average,
    InnerProduct: _weighted,
    ListedDetections: listed_detections,
    LocalResponse: _local_response,
    Normalize: _normalize,
    PairSoftmax: pair_softmax,
    Part: part,
    Pool: _pool,
    Relu: _relu,
    Resize: _resize,
    Scaling: _scaling,
    SegmentGeometry: segment_geometry,
    Upsample: _upsample,
}
