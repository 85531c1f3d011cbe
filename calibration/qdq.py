"""Writes the canonical INT8 graph: symmetric Q/DQ around each operator that reads INT8.

    x -> Q -> DQ -.
                   Conv (+ float bias) -> [Relu | Clip] -> Q -> DQ -> ...
    int8 w -> DQ -'

Activations have one scale a tensor, weights one an output channel, every zero point is 0, and what no
operator reads as INT8 is left as it was. TensorRT fuses exactly this form (no INT32 bias Q/DQ, nothing
between Conv and Relu). A Clip that ends where its Q saturates, or beyond, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from calibration.formats import INT8, QuantFormat
from calibration.graphs import Names, add_initializer, add_node, drop_unread
from calibration.int8_plan import Plan
from calibration.placement import MOVERS
from calibration.ranges import Range, Ranges, symmetric_scale
from calibration.tables import ROWS
from runtime.lowering import clip_bounds
from runtime.tensors import Array

STORED = "_quantized"
"""What the name of a stored weight ends with."""

_PART = 1 << 22
"""Values that are quantised at a time."""


def quantise_weight(weight: Array, axis: int, number: QuantFormat = INT8) -> tuple[Array, Array]:
    """Values as `number` stores them and float32 scales, one for each index of `axis`; round half to even."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    amax = np.maximum(weight.max(axis=others), -weight.min(axis=others))
    scales = symmetric_scale(amax, number.greatest)
    wide = np.broadcast_to(np.expand_dims(scales, others), weight.shape)
    quantised = np.empty(weight.shape, number.data_type.numpy())
    rows = max(1, _PART * len(weight) // max(weight.size, 1))
    for start in range(0, len(weight), rows):  # a table may be as large as half of the memory
        part = slice(start, start + rows)
        quantised[part] = number.stored(weight[part] / wide[part])
    return quantised, scales


NEAREST: Mapping[str, Array] = MappingProxyType({})
"""No weight rounded otherwise than to the nearest."""


def carry_out(
    plan: Plan,
    graph: ir.Graph,
    ranges: Ranges,
    number: QuantFormat = INT8,
    rounded: Mapping[str, Array] = NEAREST,
) -> None:
    """Put the Q/DQ of `plan` into its own graph, storing `number`s; raises CalibrationError without a range.

    rounded: int8 values of weights, by name, in steps of what their largest values need
             (calibration.rounding); others are rounded to the nearest.
    """
    quantiser = _Quantiser(graph, number, rounded)
    values = {str(v.name): v for v in (*graph.inputs, *(v for n in graph for v in n.outputs))}
    int8_reads = {(reader.node, index) for reader in plan.readers for index in reader.activations}
    for name, sources in plan.sources.items():
        uses = values[name].uses()
        if name not in plan.integer:
            # A float operator made it: other float operators go on reading what it made. What an INT8
            # operator made is read as INT8 by all, or that operator could not keep its result in INT8.
            uses = tuple(use for use in uses if use in int8_reads)
        scale = number.scale(reduce(Range.union, map(ranges.of, sources)))
        quantiser.quantise_activation(values[name], scale, uses)
    for reader in plan.readers:
        if reader.weight is not None:
            quantiser.quantise_weight(reader.node, *reader.weight)
    for look_up in plan.look_ups:
        quantiser.quantise_weight(look_up.node, 0, ROWS)
    for node in tuple(graph):
        if node.op_type == "LSTM" and _is_dequantised(node.inputs[0]):
            quantiser.part(node)


def _is_dequantised(value: ir.Value | None) -> bool:
    """Whether a DQ made `value`, wherever it was moved since."""
    maker = value.producer() if value is not None else None
    if maker is None:
        return False
    moved = maker.op_type in MOVERS and _is_dequantised(maker.inputs[0])
    return maker.op_type == "DequantizeLinear" or moved


def _leave_clip_out(graph: ir.Graph, quantise: ir.Node, scale: np.float32, ends: tuple[float, float]) -> None:
    """Let a Q read what the Clip before it reads, if that ends where Q does and nothing else reads it."""
    value = quantise.inputs[0]
    clip = value.producer() if value is not None else None
    bounds = clip_bounds(clip) if clip is not None and clip.op_type == "Clip" and not clip.domain else None
    if value is None or clip is None or bounds is None or len(value.uses()) != 1 or value.is_graph_output():
        return
    least, greatest = (np.rint(bound / scale) for bound in bounds)
    if least <= ends[0] and greatest >= ends[1]:
        quantise.replace_input_with(0, clip.inputs[0])
        constants = clip.inputs[1:]
        graph.remove(clip, safe=True)
        for constant in constants:
            drop_unread(graph, constant)


class _Quantiser:
    """Puts Q/DQ into one graph; what several nodes share is made once."""

    def __init__(self, graph: ir.Graph, number: QuantFormat, rounded: Mapping[str, Array]) -> None:
        self._graph = graph
        self._number = number
        self._rounded = rounded
        self._names = Names(graph)
        self._zero_points: dict[tuple[tuple[int, ...], int], ir.Value] = {}
        self._weights: dict[tuple[ir.Value, int], ir.Value] = {}

    def quantise_activation(self, value: ir.Value, scale: float, uses: Iterable[tuple[ir.Node, int]]) -> None:
        """One Q and one DQ behind `value`; the given uses read the DQ."""
        parameters = [
            self._constant(f"{value.name}_scale", np.asarray(scale, np.float32)),
            self._zero_point(()),
        ]
        quantise = self._node("QuantizeLinear", str(value.name), [value, *parameters])
        restore = self._node("DequantizeLinear", str(value.name), [quantise.outputs[0], *parameters])
        quantise.outputs[0].type = ir.TensorType(self._number.data_type)
        quantise.outputs[0].shape = restore.outputs[0].shape = value.shape
        restore.outputs[0].type = value.type
        add_node(self._graph, quantise, after=value)
        add_node(self._graph, restore, after=quantise.outputs[0])
        for node, index in uses:
            node.replace_input_with(index, restore.outputs[0])
        _leave_clip_out(self._graph, quantise, np.float32(scale), self._number.ends)

    def quantise_weight(self, node: ir.Node, index: int, axis: int) -> None:
        """A constant input behind a DQ, with a scale for each index of `axis`."""
        weight = node.inputs[index]
        if weight is None or weight.const_value is None:
            raise ValueError(f"{node.name} has no constant at input {index}")
        if (weight, axis) not in self._weights:
            self._weights[weight, axis] = self._stored_weight(weight, weight.const_value.numpy(), axis)
        node.replace_input_with(index, self._weights[weight, axis])
        drop_unread(self._graph, weight)

    def part(self, node: ir.Node) -> None:
        """Put a Clip without bounds, which changes nothing, between `node` and its first input.

        NOTE: TensorRT-RTX 1.7 cannot build an LSTM that reads from a DQ: it moves the DQ into its loop, and
        then finds the sizes wrong.
        """
        value = node.inputs[0]
        if value is None:
            raise ValueError(f"{node.name} has no first input")
        clip = ir.node("Clip", [value], name=self._names.new(f"{node.name}_parted"))
        clip.outputs[0].name = self._names.new(f"{value.name}_parted")
        clip.outputs[0].type, clip.outputs[0].shape = value.type, value.shape
        add_node(self._graph, clip, after=value)
        node.replace_input_with(0, clip.outputs[0])

    def _stored_weight(self, weight: ir.Value, array: Array, axis: int) -> ir.Value:
        steps, scales = quantise_weight(array, axis, self._number)
        inputs = [
            self._constant(f"{weight.name}{STORED}", self._rounded.get(str(weight.name), steps)),
            self._constant(f"{weight.name}_scale", scales),
            self._zero_point(scales.shape, axis),
        ]
        restore = self._node("DequantizeLinear", str(weight.name), inputs, {"axis": axis})
        restore.outputs[0].type, restore.outputs[0].shape = weight.type, weight.shape
        add_node(self._graph, restore, after=weight)
        return restore.outputs[0]

    def _zero_point(self, shape: tuple[int, ...], axis: int = 0) -> ir.Value:
        """One for all tensors with as many channels on the same axis.

        NOTE: of a Conv and a ConvTranspose that share theirs OpenVINO 2026.4.1 runs both in float32, where
        the input's shape is fixed: it cannot take the ConvTranspose as integers.
        """
        if (shape, axis) not in self._zero_points:
            stored = self._number.data_type
            name = "_".join(map(str, (f"{stored.name.lower()}_zero_point", *shape)))
            self._zero_points[shape, axis] = self._constant(name, np.zeros(shape, stored.numpy()))
        return self._zero_points[shape, axis]

    def _constant(self, name: str, array: Array) -> ir.Value:
        return add_initializer(self._graph, ir.tensor(array, name=self._names.new(name)))

    def _node(
        self, op_type: str, tensor: str, inputs: Sequence[ir.Value], attributes: dict[str, int] | None = None
    ) -> ir.Node:
        node = ir.node(op_type, inputs, attributes, name=self._names.new(f"{tensor}_{op_type}"))
        node.outputs[0].name = self._names.new(f"{tensor}_{_RESULT[op_type]}")
        return node


_RESULT = {"QuantizeLinear": "quantized", "DequantizeLinear": "dequantized"}
