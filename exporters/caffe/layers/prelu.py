"""PReLU: a learned slope below zero."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """max(x, 0) + slope * min(x, 0), one slope a channel or one for all."""
    shape = dims(bottoms[0])
    if len(shape) < 2:
        raise build.error("wants a blob with channels in dimension 1")
    channels = 1 if build.parameter.prelu_param.channel_shared else build.sizes(bottoms[0], 1, 2)[0]
    slope = build.blob(0, "slope", (channels,)).reshape(channels, *[1] * (len(shape) - 2))
    return [build.node("PRelu", [bottoms[0], build.constant("slope", slope)], shape)]
