"""CRNN's own layers in TensorFlow (see `layers_tensorflow`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from model_zoo.crnn_layers import (
    AverageRows,
    BidirectionalLstm,
    Columns,
    JoinRows,
    PoolRows,
    Projection,
)
from model_zoo.layers import Layer

Tensor = Any  # TensorFlow ships no types
Tensors = Mapping[str, Tensor]


def _pool_rows(layer: PoolRows, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.nn.max_pool2d(bottoms[0], (2, 1), (2, 1), "VALID", name=layer.name)


def _join_rows(layer: JoinRows, bottoms: Sequence[Tensor], weights: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.nn.conv2d(bottoms[0], weights[f"{layer.name}/kernel"], (2, 1), "SAME", name=layer.name)


def _average_rows(layer: AverageRows, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.reduce_mean(bottoms[0], axis=1, keepdims=True, name=layer.name)


def _columns(layer: Columns, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    return tf.squeeze(bottoms[0], 1, name=layer.name)


def _bidirectional(layer: BidirectionalLstm, bottoms: Sequence[Tensor], weights: Tensors) -> Tensor:
    import tensorflow as tf

    ahead = tf.transpose(bottoms[0], (1, 0, 2))
    last_to_first = np.arange(ahead.shape[0], dtype=np.int32)[::-1]
    back = tf.gather(ahead, last_to_first)
    hidden = _lstm(layer, "forward", ahead, weights), _lstm(layer, "backward", back, weights)
    both = tf.concat((hidden[0], tf.gather(hidden[1], last_to_first)), 2, name=layer.name)
    return tf.transpose(both, (1, 0, 2))


def _lstm(layer: BidirectionalLstm, direction: str, x: Tensor, weights: Tensors) -> Tensor:
    """[time, batch, units] of x [time, batch, inputs], from states of zero."""
    import tensorflow as tf

    start = tf.zeros((tf.shape(x)[1], layer.units))
    no_peepholes = tf.zeros(layer.units)
    return tf.raw_ops.BlockLSTM(
        seq_len_max=tf.constant(x.shape[0], tf.int64),
        x=x,
        cs_prev=start,
        h_prev=start,
        w=weights[f"{layer.name}/{direction}/kernel"],
        wci=no_peepholes,
        wcf=no_peepholes,
        wco=no_peepholes,
        b=weights[f"{layer.name}/{direction}/bias"],
        forget_bias=layer.forget_bias,
        cell_clip=-1.0,
        use_peephole=False,
    ).h


def _projection(layer: Projection, bottoms: Sequence[Tensor], weights: Tensors) -> Tensor:
    import tensorflow as tf

    projected = tf.matmul(bottoms[0], weights[f"{layer.name}/kernel"], name=layer.name)
    return tf.nn.bias_add(projected, weights[f"{layer.name}/bias"]) if layer.bias else projected


OPERATIONS: Mapping[type[Layer], Callable[[Any, Sequence[Tensor], Tensors], Tensor]] = {
    AverageRows: _average_rows,
    BidirectionalLstm: _bidirectional,
    Columns: _columns,
    JoinRows: _join_rows,
    PoolRows: _pool_rows,
    Projection: _projection,
}
