"""LRN: local response normalisation, across channels or within one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import Attributes, LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`x / (k + alpha / n * sum of n squares) ** beta`; ONNX divides alpha by n as Caffe does."""
    parameter = build.parameter.lrn_param
    if parameter.local_size % 2 == 0:
        raise build.error(f"local_size is {parameter.local_size}, Caffe wants an odd number")
    build.image(bottoms[0])
    if parameter.norm_region == parameter.WITHIN_CHANNEL:
        return [_within_channel(build, bottoms[0])]
    attributes: Attributes = {
        "size": parameter.local_size,
        "alpha": parameter.alpha,
        "beta": parameter.beta,
        "bias": parameter.k,
    }
    return [build.node("LRN", bottoms, dims(bottoms[0]), attributes)]


def _within_channel(build: LayerBuilder, bottom: ir.Value) -> ir.Value:
    """`x * (1 + alpha * mean of the window's squares) ** -beta`, padding counted; k is not used."""
    parameter = build.parameter.lrn_param
    shape = dims(bottom)
    window: Attributes = {
        "kernel_shape": [parameter.local_size] * 2,
        "pads": [parameter.local_size // 2] * 4,
        "count_include_pad": 1,
    }
    value = build.node("AveragePool", [build.node("Mul", [bottom, bottom], shape)], shape, window)
    for op_type, role, number in (
        ("Mul", "alpha", parameter.alpha),
        ("Add", "one", 1.0),
        ("Pow", "power", -parameter.beta),
    ):
        value = build.node(op_type, [value, build.constant(role, np.array(number, np.float32))], shape)
    return build.node("Mul", [bottom, value], shape)
