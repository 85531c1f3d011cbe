"""Softmax along one axis."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """exp(x - max) / sum, along `axis` alone whatever the rank, as ONNX means it from opset 13 on."""
    axis = build.axis(bottoms[0], build.parameter.softmax_param.axis)
    return [build.node("Softmax", bottoms, dims(bottoms[0]), {"axis": axis})]
