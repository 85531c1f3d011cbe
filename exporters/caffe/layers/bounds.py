"""Layers that compare with fixed numbers: Clip, ReLU6, Threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import FLOAT, Term
from exporters.caffe.shapes import dims


def clip(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Clip: x, not below `min` and not above `max`."""
    parameter = build.parameter.clip_param
    if not (parameter.HasField("min") and parameter.HasField("max")):
        raise build.error("clip_param wants min and max")
    return [_between(build, bottoms[0], parameter.min, parameter.max)]


def relu6(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """ReLU6 (MobileNet forks): x, not below 0 and not above 6."""
    return [_between(build, bottoms[0], 0, 6)]


def threshold(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Threshold: 1 above the threshold, else 0."""
    above = Term(build, bottoms[0]) > build.parameter.threshold_param.threshold
    return [above.cast(FLOAT).value]


def _between(build: LayerBuilder, x: ir.Value, least: float, most: float) -> ir.Value:
    limits = [
        build.constant(role, np.array(number, np.float32)) for role, number in (("min", least), ("max", most))
    ]
    return build.node("Clip", [x, *limits], dims(x))
