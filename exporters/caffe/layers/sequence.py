"""LSTM over whole sequences in ONNX's own operator, for layers whose state nothing clears on the way.

Its gates stand in another order, and its bias is that of the data and that of the state apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term
from exporters.caffe.shapes import dims
from runtime.tensors import Array

_ONNX_ORDER = (0, 2, 1, 3)
"""Caffe's gates are input, forget, output, candidate; ONNX has output before forget."""


@dataclass(frozen=True)
class Weights:
    """Of all four gates, in Caffe's order: data [4 H, size], state [4 H, H], bias [4 H]."""

    data: Array
    state: Array
    bias: Array


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Lstm (junhyukoh/caffe-lstm, CTPN): data [time, streams, size], a new sequence in every run."""
    hidden = build.parameter.lstm_param.num_output
    if len(dims(bottoms[0])) != 3 or hidden < 1:
        raise build.error(
            f"wants data [time, streams, size] and num_output, got {list(dims(bottoms[0]))} and {hidden}"
        )
    (size,) = build.sizes(bottoms[0], 2)
    shapes = {"weight": (4 * hidden, size), "recurrent weight": (4 * hidden, hidden), "bias": (4 * hidden,)}
    blobs = [build.blob(index, role, shape) for index, (role, shape) in enumerate(shapes.items())]
    return [whole_sequences(Term(build, bottoms[0]), Weights(*blobs)).value]


def whole_sequences(x: Term, weights: Weights) -> Term:
    """[time, streams, H] of data [time, streams, size]; the first states are zero."""
    time, streams, _ = x.shape
    hidden = weights.state.shape[1]
    inputs = [
        x.constant("weight", _reordered(weights.data)[np.newaxis]),
        x.constant("recurrent weight", _reordered(weights.state)[np.newaxis]),
        x.constant(
            "bias", np.concatenate([_reordered(weights.bias), np.zeros_like(weights.bias)])[np.newaxis]
        ),
    ]
    made = x.make("LSTM", inputs, (time, 1, streams, hidden), {"hidden_size": hidden})
    axes = made.constant("direction", np.array([1], np.int64))
    return made.make("Squeeze", [axes], (time, streams, hidden))


def _reordered(gates: Array) -> Array:
    return np.concatenate([np.split(gates, 4)[index] for index in _ONNX_ORDER])
