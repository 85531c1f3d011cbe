"""Convolutions while a network learns: TensorFlow has no gradient of dilated ones for a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_zoo.layers import SAME, Convolution, Layer
from model_zoo.layers_tensorflow import product

Tensor = Any  # TensorFlow ships no types


def dilated(layer: Convolution, x: Tensor, kernel: Tensor) -> Tensor:
    """What `product` gives of a layer of stride 1, by a plain convolution (Yu and Koltun 2016, section 2).

    Every `dilation`-th pixel down and across makes an image of its own, in which the taps are neighbours.
    """
    import tensorflow as tf

    block = (layer.dilation,) * 2
    sides = layer.dilation * (layer.kernel - 1) // 2 if layer.padding == SAME else layer.padding
    pads, crops = tf.required_space_to_batch_paddings(tf.shape(x)[1:3], block, [[sides] * 2] * 2)
    apart = tf.nn.conv2d(tf.space_to_batch(x, block, pads), kernel, 1, "VALID", name=layer.name)
    return tf.batch_to_space(apart, block, crops)


def _layer(layer: Convolution, bottoms: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    import tensorflow as tf

    kernel = weights[f"{layer.owner}/kernel"]
    result = (dilated if layer.dilation > 1 else product)(layer, bottoms[0], kernel)
    return tf.nn.bias_add(result, weights[f"{layer.owner}/bias"]) if layer.bias else result


LEARNING: Mapping[type[Layer], Callable[[Any, Sequence[Tensor], Mapping[str, Tensor]], Tensor]] = {
    Convolution: _layer
}
"""Stands in for the operation that `layers_tensorflow` has for a convolution."""
