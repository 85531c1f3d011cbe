"""Batch normalisation, and any other affine map per channel, into the convolution before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporters.mapped import let_go
from exporters.passes.graph import bypass, constant, only_reader, set_constant
from runtime.tensors import Array

DEFAULT_EPSILON = 1e-5
"""Of BatchNormalization, by the ONNX specification."""


@dataclass(frozen=True)
class _Affine:
    """y = scale * x + shift, both float64 [channels]."""

    scale: Array
    shift: Array


def fold_batch_norm(model: ir.Model) -> None:
    """Fold BatchNormalization, Mul and Add by constants into Conv and ConvTranspose weights.

    Computed in float64, so that folding rounds each weight once; and only when a weight is asked for, which
    is when it is written: a network takes no memory for all its folded weights at once.
    """
    for node in tuple(model.graph.all_nodes()):
        if node.op_type in {"Conv", "ConvTranspose"}:
            while _fold_reader(node):
                continue


def _fold_reader(convolution: ir.Node) -> bool:
    weight, bias = _weight(convolution), _bias(convolution)
    reader = only_reader(convolution.outputs[0])
    if weight is None or bias is None or reader is None:
        return False
    affine = _affine_of(reader, convolution.outputs[0], bias.size, len(weight.shape))
    if affine is None or not bypass(reader, convolution.outputs[0]):
        return False
    _set_weight(convolution, _scaled(weight, _factor(weight, affine.scale, convolution)))
    set_constant(convolution, 2, "bias", (bias * affine.scale + affine.shift).astype(weight.dtype.numpy()))
    return True


def _weight(convolution: ir.Node) -> ir.TensorProtocol | None:
    """The kernel, not looked into; None where it is not constant."""
    value = convolution.inputs[1]
    return None if value is None or value.is_graph_input() else ir.convenience.get_const_tensor(value)


def _set_weight(convolution: ir.Node, weight: ir.TensorProtocol) -> None:
    """Put `weight` in the old one's place, or a copy of it beside where others read the old one too."""
    old = convolution.inputs[1]
    if old is not None and old.is_initializer() and len(old.uses()) == 1 and not old.is_graph_output():
        weight.name, old.const_value = old.name, weight
    else:
        set_constant(convolution, 1, "weight", weight.numpy())


def _bias(convolution: ir.Node) -> Array | None:
    """float64 [channels]; zeros where there is none, None where it is not constant."""
    given = convolution.inputs[2] if len(convolution.inputs) > 2 else None
    if given is not None:
        bias = constant(given)
        return None if bias is None else bias.astype(np.float64)
    weight = _weight(convolution)
    if weight is None:
        return None
    first, second, *_ = weight.shape.numpy()
    return np.zeros(first if convolution.op_type == "Conv" else second * _groups(convolution))


def _groups(convolution: ir.Node) -> int:
    attribute = convolution.attributes.get("group")
    return 1 if attribute is None else attribute.as_int()


def _factor(weight: ir.TensorProtocol, scale: Array, convolution: ir.Node) -> Array:
    """Output channels lie on axis 0 of a Conv's weight; of a ConvTranspose's on axis 1, per group."""
    first, second, *kernel = weight.shape.numpy()
    spatial = (1,) * len(kernel)
    if convolution.op_type == "Conv":
        return scale.reshape(-1, 1, *spatial)
    groups = _groups(convolution)
    per_input = np.repeat(scale.reshape(groups, 1, -1), first // groups, axis=1)
    return per_input.reshape(first, second, *spatial)


def _scaled(weight: ir.TensorProtocol, factor: Array) -> ir.LazyTensor:
    """The product, computed each time it is asked for."""

    def multiply() -> ir.TensorProtocol:
        array = weight.numpy()
        product = np.empty_like(array)  # `out` goes by parts, `array * factor` makes a float64 copy of it all
        np.multiply(array, factor, out=product, dtype=np.float64, casting="unsafe")
        let_go(array)
        return ir.Tensor(np.ascontiguousarray(product), dtype=weight.dtype)

    return ir.LazyTensor(multiply, dtype=weight.dtype, shape=ir.Shape(weight.shape.numpy()), name=weight.name)


def _affine_of(node: ir.Node, value: ir.Value, channels: int, rank: int) -> _Affine | None:
    if node.op_type == "BatchNormalization" and node.inputs[0] is value:
        return _batch_norm(node)
    if node.op_type not in {"Mul", "Add"}:
        return None
    other = node.inputs[1] if node.inputs[0] is value else node.inputs[0]
    vector = _per_channel(constant(other), channels, rank)
    if vector is None:
        return None
    if node.op_type == "Mul":
        return _Affine(vector, np.zeros(channels))
    return _Affine(np.ones(channels), vector)


def _batch_norm(node: ir.Node) -> _Affine | None:
    arrays = [constant(value) for value in node.inputs[1:5]]
    if any(array is None for array in arrays) or _is_training(node):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    attribute = node.attributes.get("epsilon")
    epsilon = DEFAULT_EPSILON if attribute is None else attribute.as_float()
    scale = gamma / np.sqrt(variance + epsilon)
    return _Affine(scale, beta - mean * scale)


def _is_training(node: ir.Node) -> bool:
    attribute = node.attributes.get("training_mode")
    return attribute is not None and attribute.as_int() != 0


def _per_channel(array: Array | None, channels: int, rank: int) -> Array | None:
    """float64 [channels] where `array` broadcasts along the channel axis (1 of `rank`) only."""
    if array is None or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1) or shape[1] not in {1, channels}:
        return None
    return np.broadcast_to(array.astype(np.float64).reshape(-1), (channels,))
