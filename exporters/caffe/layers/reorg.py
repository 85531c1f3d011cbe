"""Reorg: pixels of a square dealt out to channels, or back (YOLOv2)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """[N, C, H, W] to [N, C s s, H / s, W / s], or, with `reverse`, to [N, C / (s s), H s, W s].

    NOTE: darknet's order: even without `reverse` the values are taken as C / (s s) channels of s s times as
    many pixels first, so this is not ONNX's SpaceToDepth.
    """
    parameter = build.parameter.reorg_param
    batch, (channels, height, width) = dims(bottoms[0])[0], build.image(bottoms[0])
    stride, x = int(parameter.stride), Term(build, bottoms[0])
    if stride < 1 or channels % stride**2 or (not parameter.reverse and (height % stride or width % stride)):
        raise build.error(
            f"stride {stride} must divide height and width, and its square the channels, got {list(x.shape)}"
        )
    fewer = channels // stride**2
    if parameter.reverse:
        split = x.reshape(batch, stride, stride, fewer, height, width).transpose(0, 3, 4, 1, 5, 2)
        return [split.reshape(batch, fewer, height * stride, width * stride).value]
    split = x.reshape(batch, fewer, height, stride, width, stride).transpose(0, 3, 5, 1, 2, 4)
    return [split.reshape(batch, channels * stride**2, height // stride, width // stride).value]
