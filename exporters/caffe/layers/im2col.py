"""Im2col: the pixels of each window as channels (CTPN)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import Attributes, LayerBuilder
from exporters.caffe.layers.window import convolution_window
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Channel by channel the pixels of each window, row by row.

    It is a grouped convolution with ones where the pixels are; products with one and sums of zeros round
    nothing.
    """
    x = bottoms[0]
    window = convolution_window(build, x)
    channels, *image = build.sizes(x, 1)
    each = prod(window.kernel)
    build.limit("places in windows", channels * each * each)
    weight = np.eye(each, dtype=np.float32).reshape(each, 1, *window.kernel)
    inputs = [x, build.constant("weight", np.tile(weight, (channels, *[1] * (weight.ndim - 1))))]
    attributes: Attributes = {**window.attributes, "group": channels}
    return [build.node("Conv", inputs, (dims(x)[0], channels * each, *window.counts(image)), attributes)]
