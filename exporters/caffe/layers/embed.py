"""Embed: a learned row for each whole number of the bottom."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import INT64, Term, constant


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Rows of the weight [input_dim, num_output], plus the bias; the numbers come as float32."""
    parameter = build.parameter.embed_param
    weight = build.blob(0, "weight", (parameter.input_dim, parameter.num_output))
    rows = constant(build, "weight", weight).gather(Term(build, bottoms[0]).cast(INT64))
    if not parameter.bias_term:
        return [rows.value]
    return [(rows + build.blob(1, "bias", (parameter.num_output,))).value]
