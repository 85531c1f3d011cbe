"""Layers that are one ONNX node without weights: AbsVal, BNLL, ELU, Sigmoid, TanH."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def abs_val(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """AbsVal: |x|."""
    return [build.node("Abs", bottoms, dims(bottoms[0]))]


def bnll(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """BNLL, binomial normal log likelihood: log(1 + exp(x))."""
    return [build.node("Softplus", bottoms, dims(bottoms[0]))]


def elu(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """ELU: x above 0, alpha * (exp(x) - 1) below."""
    alpha = build.parameter.elu_param.alpha
    return [build.node("Elu", bottoms, dims(bottoms[0]), {"alpha": alpha})]


def sigmoid(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Sigmoid: 1 / (1 + exp(-x))."""
    return [build.node("Sigmoid", bottoms, dims(bottoms[0]))]


def tanh(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """TanH: the hyperbolic tangent."""
    return [build.node("Tanh", bottoms, dims(bottoms[0]))]
