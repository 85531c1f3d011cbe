"""Smooth activations that came after Caffe's own: Swish (BVLC, 2018) and Mish (YOLOv4 forks)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term


def swish(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Swish: `x * sigmoid(beta * x)`."""
    x, beta = Term(build, bottoms[0]), build.parameter.swish_param.beta
    inner = x if beta == 1 else x * beta
    return [(x * inner.apply("Sigmoid")).value]


def mish(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Mish: `x * tanh(log(1 + exp(x)))`."""
    x = Term(build, bottoms[0])
    return [(x * x.apply("Softplus").apply("Tanh")).value]
