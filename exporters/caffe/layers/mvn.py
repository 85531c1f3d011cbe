"""MVN: mean and variance normalisation of each channel, or of each sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`(x - mean) / (sqrt(variance) + eps)`; ONNX's own normalisations have eps under the root."""
    parameter = build.parameter.mvn_param
    build.image(bottoms[0])
    axes = [1, 2, 3] if parameter.across_channels else [2, 3]
    x = Term(build, bottoms[0])
    centred = x - _mean(x, axes)
    if not parameter.normalize_variance:
        return [centred.value]
    deviation = _mean(centred * centred, axes).apply("Sqrt") + parameter.eps
    return [(centred / deviation).value]


def _mean(term: Term, axes: list[int]) -> Term:
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(dims(term.value)))
    return term.make("ReduceMean", [term.constant("axes", np.array(axes, np.int64))], shape)
