"""Reduction: everything from one axis on as one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term
from exporters.caffe.shapes import dims

_OPERATORS = {"SUM": "ReduceSum", "ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Sum, sum of absolute values or of squares, or mean, times `coeff`; `axis` and all behind it go."""
    parameter = build.parameter.reduction_param
    shape = dims(bottoms[0])
    axis = build.axis(bottoms[0], parameter.axis)
    operator = _OPERATORS[parameter.ReductionOp.Name(parameter.operation)]
    axes = build.constant("axes", np.arange(axis, len(shape), dtype=np.int64))
    reduced = build.node(operator, [bottoms[0], axes], shape[:axis], {"keepdims": 0})
    if parameter.coeff == 1:
        return [reduced]
    return [(Term(build, reduced) * parameter.coeff).value]
