"""Deconvolution: the transposed convolution, with the weight layout of ONNX's ConvTranspose."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import Attributes, LayerBuilder
from exporters.caffe.layers.convolution import bias, grouped_outputs
from exporters.caffe.layers.window import convolution_window
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad` pixels; weight [in, out/group, *kernel]."""
    parameter = build.parameter.convolution_param
    x = bottoms[0]
    window = convolution_window(build, x)
    channels, *image = build.sizes(x, 1)
    outputs = grouped_outputs(build, channels)
    weight = build.blob(0, "weight", (channels, outputs // parameter.group, *window.kernel))
    inputs = [x, build.constant("weight", weight), *bias(build, outputs)]
    made = [
        stride * (size - 1) + reach - 2 * pad
        for size, pad, reach, stride in zip(image, window.pad, window.reach, window.stride, strict=True)
    ]
    attributes: Attributes = {**window.attributes, "group": parameter.group}
    return [build.node("ConvTranspose", inputs, (dims(x)[0], outputs, *made), attributes)]
