"""Dropout, which does nothing once a network is trained; also of whole channels (ENet's Python layer)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """x; or x * (1 - dropout_ratio) where `scale_train: false` (caffe-fast-rcnn) left training unscaled."""
    parameter = build.parameter.dropout_param
    if parameter.scale_train:
        return bottoms
    keep = build.constant("keep", np.array(1 - parameter.dropout_ratio, np.float32))
    return [build.node("Mul", [bottoms[0], keep], dims(bottoms[0]))]


def spatial(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """ENet's Python layer: x, where its `param_str` does not say that the phase is TRAIN."""
    if "TRAIN" in build.parameter.python_param.param_str:
        raise build.error("its param_str says phase TRAIN, in which it draws at random; say TEST")
    return bottoms
