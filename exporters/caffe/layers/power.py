"""Power: (shift + scale * x) to a power."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Steps that change nothing (scale 1, shift 0, power 1) are left out."""
    parameter = build.parameter.power_param
    steps = (("Mul", "scale", 1.0), ("Add", "shift", 0.0), ("Pow", "power", 1.0))
    value = bottoms[0]
    for op_type, role, neutral in steps:
        number = getattr(parameter, role)
        if number != neutral:
            value = build.node(
                op_type, [value, build.constant(role, np.array(number, np.float32))], dims(value)
            )
    return [value]
