"""An INT8 network in the graph of its FP32 one, and copies of its layers that read what FP32 computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from calibration.gemm import split_gemms
from calibration.graphs import Names, open_float_graph
from calibration.int8_plan import nothing_to_quantise
from calibration.prepare import Quantisable, quantise
from runtime.costs import MULTIPLYING


class Pair:
    """An FP32 network, its INT8 form, and the layers by name: those that multiply and are INT8, in order.

    Raises CalibrationError (nothing to quantise, a missing range) and GraphError.
    """

    def __init__(self, quantisable: Quantisable) -> None:
        fp32 = quantisable.graph
        self.model = open_float_graph(fp32)
        split_gemms(self.model.graph)
        self._quantised = open_float_graph(fp32)
        readers = quantise(self._quantised, quantisable).readers
        self.layers = {str(r.node.name): r.node for r in readers if r.node.op_type in MULTIPLYING}
        if not self.layers:
            raise nothing_to_quantise(fp32, self.model.graph)
        self.in_float = {str(node.name): node for node in self.model.graph if node.name in self.layers}

    def joined(self) -> Shadows:
        """Put both networks into one graph, that of `model`."""
        return Shadows(self.model.graph, self._quantised.graph)

    def save(self, out: Path) -> None:
        """The weights go to a file beside it, which ONNX Runtime maps instead of copying."""
        ir.save(self.model, out, external_data=f"{out.name}.data")


Place = Callable[[ir.Node], None]
"""Puts a new node, which has its name, where it belongs."""


class Shadows:
    """Moves the nodes and constants of `quantised` into `graph`, which has the same inputs, and empties it.

    Both come from one file in one normal form, so values of the same name are the same quantity; what
    they have in common, constants and inputs, is shared.
    """

    def __init__(self, graph: ir.Graph, quantised: ir.Graph) -> None:
        self._graph = graph
        self._names = Names(graph)
        self._floats = {str(value.name): value for value in _values(graph)}
        self._originals = {value: str(value.name) for value in _values(quantised)}
        for value in quantised.inputs:
            ir.convenience.replace_all_uses_with(value, self._floats[str(value.name)])
        self._move_constants(quantised)
        self._move_nodes(quantised)

    def new_name(self, name: str) -> str:
        """One that nothing in the graph has."""
        return self._names.new(name)

    def replace(self, value: ir.Value, by: ir.Value) -> None:
        """From now on `by` stands for `value` of the FP32 network, under its name."""
        name, value.name = str(value.name), self._names.new(f"{value.name}/before")
        ir.convenience.replace_all_uses_with(value, by, replace_graph_outputs=True)
        by.name, by.type, by.shape = name, value.type, value.shape
        self._floats[name] = by

    def layer(self, node: ir.Node, place: Place) -> ir.Value:
        """The result of a copy of the INT8 network's `node` that reads FP32's values through its Q/DQ."""
        made: dict[ir.Value, ir.Value] = {}
        return self._copied(node, [self._value(value, place, made) for value in node.inputs], place)

    def _value(self, value: ir.Value | None, place: Place, made: dict[ir.Value, ir.Value]) -> ir.Value | None:
        """`value` of the INT8 network, computed from what the FP32 network has wherever that has it, too."""
        if value is None:
            return None
        twin, producer = self._floats.get(self._originals.get(value, "")), value.producer()
        if twin is not None:
            return twin
        if producer is None:
            return value
        if value not in made:
            inputs = [self._value(each, place, made) for each in producer.inputs]
            constant = all(a is b for a, b in zip(inputs, producer.inputs, strict=True))
            made[value] = value if constant else self._copied(producer, inputs, place)
        return made[value]

    def _copied(self, node: ir.Node, inputs: Sequence[ir.Value | None], place: Place) -> ir.Value:
        attributes = tuple(node.attributes.values())
        copy = ir.Node(node.domain, node.op_type, inputs, attributes, num_outputs=len(node.outputs))
        return self.named(copy, f"alone/{node.name}", place)

    def named(self, node: ir.Node, name: str, place: Place) -> ir.Value:
        """Name a new node and its results after `name`, and place it; its first result."""
        node.name = self._names.new(name)
        for index, value in enumerate(node.outputs):
            value.name = self._names.new(f"{name}/{index}")
        place(node)
        return node.outputs[0]

    def _move_constants(self, quantised: ir.Graph) -> None:
        for name, constant in tuple(quantised.initializers.items()):
            del quantised.initializers[name]
            own = self._graph.initializers.get(name)
            if own is not None and _same(own, constant):
                ir.convenience.replace_all_uses_with(constant, own)
                continue
            constant.name = self._names.new(f"int8/{name}")
            self._graph.register_initializer(constant)

    def _move_nodes(self, quantised: ir.Graph) -> None:
        for node in tuple(quantised):
            quantised.remove(node)
            node.name = self._names.new(f"int8/{node.name}")
            for value in node.outputs:
                value.name = self._names.new(f"int8/{value.name}") if value.name else value.name
            self._graph.append(node)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    for node in graph:
        yield from node.outputs


def _same(one: ir.Value, other: ir.Value) -> bool:
    first, second = one.const_value, other.const_value
    if first is None or second is None or (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    return bool(np.array_equal(first.numpy(), second.numpy()))
