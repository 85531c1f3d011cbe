"""Scale: a blob times a learned one (or a second bottom), plus an optional learned bias."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.layers.broadcast import learned, second_bottom
from exporters.caffe.shapes import dims
from runtime.tensors import Array


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`x * gamma + beta`. Behind a BatchNorm that nothing else reads, both go into its node."""
    parameter = build.parameter.scale_param
    x = bottoms[0]
    if len(bottoms) == 2:
        gamma = second_bottom(build, bottoms, parameter.axis)
        beta = _beta(build, x, 0, (parameter.axis, len(dims(bottoms[1]))))
        return [_multiply_add(build, x, gamma, beta)]
    span = (parameter.axis, parameter.num_axes)
    learned_gamma, beta = learned(build, x, 0, "gamma", span), _beta(build, x, 1, span)
    batch_norm = _batch_norm_before(build, x, learned_gamma)
    if batch_norm is not None:
        _join(build, batch_norm, learned_gamma, beta)
        return [x]
    return [_multiply_add(build, x, build.constant("gamma", learned_gamma), beta)]


def _beta(build: LayerBuilder, x: ir.Value, index: int, span: tuple[int, int]) -> Array | None:
    return learned(build, x, index, "beta", span) if build.parameter.scale_param.bias_term else None


def _multiply_add(build: LayerBuilder, x: ir.Value, gamma: ir.Value, beta: Array | None) -> ir.Value:
    scaled = build.node("Mul", [x, gamma], dims(x))
    if beta is None:
        return scaled
    return build.node("Add", [scaled, build.constant("beta", beta)], dims(x))


def _batch_norm_before(build: LayerBuilder, x: ir.Value, gamma: Array) -> ir.Node | None:
    """The BatchNorm that makes `x` for this layer alone, where there is one number a channel."""
    node = x.producer()
    one_a_channel = gamma.ndim == len(dims(x)) - 1 and gamma.shape[:1] == (gamma.size,)
    if node is None or node.op_type != "BatchNormalization" or not one_a_channel:
        return None
    return node if build.reads_alone(0, x) and _changes_nothing(node) else None


def _changes_nothing(batch_norm: ir.Node) -> bool:
    """Whether its gamma is 1 and its beta 0; a BN layer has its own."""
    gamma, beta = (value.const_value for value in batch_norm.inputs[1:3] if value is not None)
    return bool(gamma and beta and (gamma.numpy() == 1).all() and (beta.numpy() == 0).all())


def _join(build: LayerBuilder, batch_norm: ir.Node, gamma: Array, beta: Array | None) -> None:
    """BatchNorm's own gamma is 1 and its beta 0, so this layer's simply take their places."""
    batch_norm.replace_input_with(1, build.constant("gamma", gamma.ravel()))
    if beta is not None:
        batch_norm.replace_input_with(2, build.constant("beta", beta.ravel()))
