"""Convolution: cross-correlation, with the weight layout of ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import Attributes, LayerBuilder
from exporters.caffe.layers.window import convolution_window
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`(in + 2 pad - (dilation (kernel - 1) + 1)) // stride + 1` pixels; weight [out, in/group, *kernel]."""
    return _convolved(build, bottoms[0], build.parameter.convolution_param.group)


def depthwise(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """ConvolutionDepthwise (ShuffleNet): as many groups as channels, whatever `group` says."""
    (channels,) = build.sizes(bottoms[0], build.axis(bottoms[0], 1), 2)
    outputs = build.parameter.convolution_param.num_output
    if outputs != channels:
        raise build.error(f"num_output {outputs} must be the number of channels, {channels}")
    return _convolved(build, bottoms[0], channels)


def _convolved(build: LayerBuilder, x: ir.Value, group: int) -> Sequence[ir.Value]:
    window = convolution_window(build, x)
    channels, *image = build.sizes(x, 1)
    outputs = grouped_outputs(build, channels)
    weight = build.blob(0, "weight", (outputs, channels // group, *window.kernel))
    inputs = [x, build.constant("weight", weight), *bias(build, outputs)]
    attributes: Attributes = {**window.attributes, "group": group}
    return [build.node("Conv", inputs, (dims(x)[0], outputs, *window.counts(image)), attributes)]


def bias(build: LayerBuilder, outputs: int) -> Sequence[ir.Value]:
    """The bias as a node's third input, or none."""
    if not build.parameter.convolution_param.bias_term:
        return ()
    return (build.constant("bias", build.blob(1, "bias", (outputs,))),)


def grouped_outputs(build: LayerBuilder, channels: int) -> int:
    """num_output; raises ExportError where `group` does not divide it and the input's channels."""
    parameter = build.parameter.convolution_param
    outputs, group = int(parameter.num_output), parameter.group
    if group < 1 or outputs < 1 or outputs % group or channels % group:
        raise build.error(f"group {group} must divide {channels} input channels and num_output {outputs}")
    return outputs
