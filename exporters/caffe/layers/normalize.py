"""Normalize: each position (or sample) scaled to length one, then by a learned factor (SSD)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`x / sqrt(sum of squares + eps) * scale`; ONNX's LpNormalization knows neither eps nor scale."""
    parameter = build.parameter.norm_param
    x, shape = bottoms[0], dims(bottoms[0])
    channels = 1 if parameter.channel_shared else build.image(x)[0]
    build.image(x)
    axes = [1, 2, 3] if parameter.across_spatial else [1]
    scale = build.blob(0, "scale", (channels,)).reshape(channels, 1, 1)
    reduced = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    squares = build.node("Mul", [x, x], shape)
    total = build.node("ReduceSum", [squares, build.constant("axes", np.array(axes, np.int64))], reduced)
    padded = build.node("Add", [total, build.constant("eps", np.array(parameter.eps, np.float32))], reduced)
    unit = build.node("Div", [x, build.node("Sqrt", [padded], reduced)], shape)
    return [build.node("Mul", [unit, build.constant("scale", scale)], shape)]
