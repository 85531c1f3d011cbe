"""Corrects biases, so that a layer with rounded weights answers right on average.

What rounding adds to a layer's answers has a mean over the calibration samples: the error of the weights
times the mean of what they are multiplied with. The bias takes it off (M. Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", ICCV 2019, 4.2). Layers without a bias stay as
they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from calibration.gemm import split_gemms
from calibration.graphs import Names, add_initializer, drop_unread, open_float_graph
from calibration.observers.patches import MeanRow
from calibration.observers.several import Several
from calibration.qdq import quantise_weight
from calibration.rounding import Layer, weighted_layers
from calibration.stream import observe
from runtime.graphs import load
from runtime.progress import Progress, silent
from runtime.tensors import Array, Feed


@dataclass(frozen=True)
class _Bias:
    """Which input of which node is a layer's bias: a constant that nothing else reads, a value an output."""

    node: ir.Node
    index: int
    array: Array


def corrected_biases(
    graph: Path,
    feeds: Callable[[], Iterable[Feed]],
    rounded: Mapping[str, Array],
    progress: Progress = silent,
    *,
    together: bool = False,
) -> dict[str, Array]:
    """float32 biases of the layers that INT8 quantises, by the layer's name, in the shapes they have.

    rounded: int8 values of weights, by name; the others are rounded to the nearest.
    Raises as calibration.stream.observe.
    """
    model = open_float_graph(graph)
    split_gemms(model.graph)
    layers = list(_biased(model.graph))
    if not layers:
        return {}
    means = {(layer.tensor, layer.window): MeanRow(layer.window) for layer, _ in layers}
    observers = {
        name: Several([m for (tensor, _), m in means.items() if tensor == name]) for name, _ in means
    }
    observe(graph, feeds(), observers, "correcting biases", progress, together=together)
    return {
        str(layer.node.name): _corrected(
            bias, _error(layer, rounded) @ means[layer.tensor, layer.window].mean
        )
        for layer, bias in layers
    }


def set_biases(graph: ir.Graph, biases: Mapping[str, Array], layers: Collection[str]) -> None:
    """Give those of `layers` that `biases` has one for that bias."""
    names = Names(graph)
    for node in tuple(graph):
        bias = _bias_of(node) if node.name in layers and node.name in biases else None
        if bias is not None:
            before = bias.node.inputs[bias.index]
            tensor = ir.tensor(biases[str(node.name)], name=names.new(f"{node.name}_corrected"))
            bias.node.replace_input_with(bias.index, add_initializer(graph, tensor))
            drop_unread(graph, before)


def stored_biases(int8: Path) -> dict[str, Array]:
    """The biases of an INT8 file's layers, by their names."""
    found = {str(node.name): _bias_of(node) for node in load(int8).graph}
    return {name: bias.array for name, bias in found.items() if bias is not None}


def _biased(graph: ir.Graph) -> Iterator[tuple[Layer, _Bias]]:
    """Layers whose bias has a value for each output, and nothing else to add."""
    for layer in weighted_layers(graph):
        bias = _bias_of(layer.node)
        if bias is not None and bias.array.size == layer.array.shape[layer.channel_axis]:
            yield layer, bias


def _error(layer: Layer, rounded: Mapping[str, Array]) -> Array:
    """float64[outputs, inputs]: the weights less what is stored of them."""
    nearest, scales = quantise_weight(layer.array, layer.channel_axis)
    steps = layer.as_rows(rounded.get(layer.weight, nearest))
    error: Array = layer.matrix() - steps * scales.astype(np.float64)[:, np.newaxis]
    return error


def _corrected(bias: _Bias, mean: Array) -> Array:
    return (bias.array.astype(np.float64) + mean.reshape(bias.array.shape)).astype(np.float32)


def _bias_of(node: ir.Node) -> _Bias | None:
    """A Conv's third input, or what the one Add behind a MatMul adds."""
    if node.op_type == "Conv":
        return _constant(node, 2) if len(node.inputs) > 2 else None
    uses = list(node.outputs[0].uses()) if node.op_type == "MatMul" else []
    if len(uses) != 1 or uses[0].node.op_type != "Add" or node.outputs[0].is_graph_output():
        return None
    return _constant(uses[0].node, 1 - uses[0].idx)


def _constant(node: ir.Node, index: int) -> _Bias | None:
    value = node.inputs[index]
    if value is None or value.const_value is None or len(value.uses()) != 1 or value.is_graph_output():
        return None
    return _Bias(node, index, value.const_value.numpy())
