"""Layers that read nothing, and make the same in every run: DummyData, Parameter, ContinuationIndicator."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.schema import schema


def dummy_data(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """DummyData: blobs full of one number each; a filler that draws at random is refused."""
    del bottoms
    parameter = build.parameter.dummy_data_param
    shapes = _shapes(build)
    fillers = list(parameter.data_filler) or [schema().FillerParameter()]
    if len(fillers) not in (1, build.tops):
        raise build.error(f"has {len(fillers)} data_filler for {build.tops} tops; give one, or one a top")
    drawn = [filler.type for filler in fillers if filler.type != "constant"]
    if drawn:
        raise build.error(
            f"draws its numbers at random ({drawn[0]}); put an Input layer in its place to feed them"
        )
    build.limit("numbers", sum(prod(shape) for shape in shapes))
    values = [filler.value for filler in fillers] * (build.tops if len(fillers) == 1 else 1)
    return [
        build.constant("data", np.full(shape, value, np.float32))
        for shape, value in zip(shapes, values, strict=True)
    ]


def parameter_blob(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Parameter: a learned array as a blob."""
    del bottoms
    shape = tuple(build.parameter.parameter_param.shape.dim)
    return [build.constant("parameter", build.blob(0, "parameter", shape))]


def continuation_indicator(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """ContinuationIndicator (CRNN), [time, streams]: 0 at the first step of each stream, 1 at all others."""
    del bottoms
    parameter = build.parameter.continuation_indicator_param
    if min(parameter.time_step, parameter.batch_size) < 1:
        raise build.error("give time_step and batch_size, both above 0")
    build.limit("steps", parameter.time_step * parameter.batch_size)
    goes_on = np.ones((parameter.time_step, parameter.batch_size), np.float32)
    goes_on[0] = 0
    return [build.constant("goes on", goes_on)]


def _shapes(build: LayerBuilder) -> list[tuple[int, ...]]:
    """One shape a top, given once for all or once each, in the new form or the old one."""
    parameter = build.parameter.dummy_data_param
    shapes = [tuple(shape.dim) for shape in parameter.shape]
    if not shapes:
        old = (parameter.num, parameter.channels, parameter.height, parameter.width)
        shapes = list(zip(*old, strict=False))
    if len(shapes) not in (1, build.tops) or any(min(shape, default=1) < 1 for shape in shapes):
        raise build.error(
            f"has shapes {[list(shape) for shape in shapes]} for {build.tops} tops; give one, or one a top,"
            " with every dimension 1 or more"
        )
    return shapes * (build.tops if len(shapes) == 1 else 1)
