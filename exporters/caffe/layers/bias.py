"""Bias: a blob plus a learned one (or a second bottom)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.layers.broadcast import learned, second_bottom
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`x + bias`, stretched over x from `axis` on."""
    parameter = build.parameter.bias_param
    x = bottoms[0]
    if len(bottoms) == 2:
        bias = second_bottom(build, bottoms, parameter.axis)
    else:
        bias = build.constant("bias", learned(build, x, 0, "bias", (parameter.axis, parameter.num_axes)))
    return [build.node("Add", [x, bias], dims(x))]
