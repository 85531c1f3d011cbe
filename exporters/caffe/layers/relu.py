"""ReLU, with an optional slope below zero."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """max(x, 0) + negative_slope * min(x, 0)."""
    slope = build.parameter.relu_param.negative_slope
    if slope == 0:
        return [build.node("Relu", bottoms, dims(bottoms[0]))]
    return [build.node("LeakyRelu", bottoms, dims(bottoms[0]), {"alpha": slope})]
