"""Eltwise: blobs of one shape added, multiplied or compared value by value."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """SUM (with a coefficient for each bottom), PROD or MAX."""
    parameter = build.parameter.eltwise_param
    shapes = {dims(bottom) for bottom in bottoms}
    if len(shapes) > 1:
        raise build.error(
            f"bottoms have different shapes: {', '.join(str(list(s)) for s in sorted(shapes, key=str))}"
        )
    op_type = {parameter.SUM: "Add", parameter.PROD: "Mul", parameter.MAX: "Max"}[parameter.operation]
    terms = _weighted(build, bottoms) if parameter.coeff else bottoms
    shape = dims(bottoms[0])
    return [functools.reduce(lambda left, right: build.node(op_type, [left, right], shape), terms)]


def _weighted(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> list[ir.Value]:
    parameter = build.parameter.eltwise_param
    if parameter.operation != parameter.SUM or len(parameter.coeff) != len(bottoms):
        raise build.error(
            f"{len(parameter.coeff)} coefficients for {len(bottoms)} bottoms;"
            " SUM takes one each, PROD and MAX none"
        )
    return [
        bottom if coefficient == 1 else _times(build, bottom, coefficient)
        for bottom, coefficient in zip(bottoms, parameter.coeff, strict=True)
    ]


def _times(build: LayerBuilder, bottom: ir.Value, coefficient: float) -> ir.Value:
    factor = build.constant("coefficient", np.array(coefficient, np.float32))
    return build.node("Mul", [bottom, factor], dims(bottom))
