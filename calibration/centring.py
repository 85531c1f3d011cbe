"""Gives what is never negative all 255 steps of symmetric INT8, where only pointwise operators read it.

Behind a ReLU half of the steps stand for nothing. With c half of the greatest value y there, y - c is
symmetric, and 0 is -127 exactly. A convolution of single pixels without padding makes of y - c what it makes
of y, with c times the sum of its weights in its bias; in a residual sum, c goes on to the next ReLU. What
makes y takes -c into its bias, so that no operator is added: relu(z) - c is z - c clipped to -c..c. Where a
convolution pads, 0 would have to be -c, and y stays as it is.

A constant shows each error of the weights that it meets: round them with `feedback`, or correct biases.

It is what asymmetric quantisation does with a zero point (B. Jacob et al., "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018), said in symmetric INT8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from calibration.graphs import Names, add_initializer
from calibration.int8_plan import plan_int8
from calibration.ranges import Range
from runtime.tensors import Array

_BIASED = frozenset({"BatchNormalization", "Conv"})
"""Operators whose third input is added to their result, a number for each channel."""

_UNPADDED = frozenset({"NOTSET", "VALID"})


def centrable_tensors(graph: ir.Graph) -> tuple[str, ...]:
    """The results of ReLUs that can be centred, all of them or some."""
    return tuple(_result_of(relu) for relu in _centrable(graph))


def centre(graph: ir.Graph, ranges: Mapping[str, Range]) -> int:
    """Centre what `centrable_tensors` names in place; returns how many tensors that are.

    ranges: of these tensors; what they clip is clipped here. Everything else computes the same, but for
    rounding.
    """
    halves = {relu: ranges[_result_of(relu)].amax / 2 for relu in _centrable(graph)}
    halves = {relu: half for relu, half in halves.items() if half > 0}
    less: dict[ir.Value | None, float] = {
        value: half for relu, half in halves.items() for value in _moved(relu.outputs[0])
    }
    wanted = {relu.inputs[0]: half for relu, half in halves.items()}
    changes = _Biases(graph)
    for node in graph:
        if node.op_type == "Conv" and node.inputs[0] in less:
            changes.add(node, less[node.inputs[0]] * _sums_of_weights(node))
        if node.op_type in _BIASED and node.outputs[0] in wanted:
            changes.add(node, -wanted[node.outputs[0]])
        if _is_adjustable_sum(node):
            lacks = sum(less.get(value, 0.0) for value in node.inputs) - wanted.get(node.outputs[0], 0.0)
            makers = _only_read_by(node)
            for maker in makers:
                changes.add(maker, lacks / len(makers))
    changes.carry_out()
    for relu, half in halves.items():
        _clip(graph, relu, np.float32(half), changes.names)
    return len(halves)


def _centrable(graph: ir.Graph) -> list[ir.Node]:
    """ReLUs whose result is read as INT8, and whose makers and readers all take the change in."""
    sources = plan_int8(graph).sources
    return [
        relu
        for relu in graph
        if relu.op_type == "Relu"
        and any(value.name in sources for value in _moved(relu.outputs[0]))
        and _takes_a_change(relu)
        and all(map(_hands_on, _readers(relu.outputs[0])))
    ]


def _takes_a_change(relu: ir.Node) -> bool:
    """Whether what the ReLU reads is made for it alone, by something that has a bias."""
    value = relu.inputs[0]
    maker = value.producer() if value is not None else None
    if value is None or maker is None or len(value.uses()) != 1 or value.is_graph_output():
        return False
    return _has_constants(maker) or _is_adjustable_sum(maker)


def _hands_on(use: ir.Node | None) -> bool:
    """Whether a reader makes the same of a centred tensor; None stands for the graph's outputs."""
    return use is not None and (_is_pointwise(use) or _is_adjustable_sum(use))


def _moved(value: ir.Value) -> Iterator[ir.Value]:
    """`value`, and what pools find the greatest of neighbours in: their padding never is."""
    yield value
    for node, _ in value.uses():
        if node.op_type == "MaxPool" and len(node.outputs) == 1:
            yield from _moved(node.outputs[0])


def _readers(value: ir.Value) -> Iterator[ir.Node | None]:
    """What reads `value`, or reads what pools make of it; None where that is an output of the graph."""
    moved = list(_moved(value))
    for each in moved:
        yield from (node for node, _ in each.uses() if node.outputs[0] not in moved)
        if each.is_graph_output():
            yield None


def _is_pointwise(node: ir.Node) -> bool:
    """Whether each output of a convolution reads one pixel, and none that is padding."""
    if (
        node.op_type != "Conv"
        or not _has_constants(node)
        or any(size != 1 for size in _weights(node).shape[2:])
    ):
        return False
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    return not any(node.attributes.get_ints("pads", ())) and auto in _UNPADDED


def _has_constants(node: ir.Node) -> bool:
    """Whether its parameters are, of one that has a bias, or can have one."""
    if node.op_type not in _BIASED or node.domain:
        return False
    return all(value is None or value.const_value is not None for value in node.inputs[1:])


def _is_adjustable_sum(node: ir.Node) -> bool:
    return node.op_type == "Add" and not node.domain and bool(_only_read_by(node))


def _only_read_by(node: ir.Node) -> Sequence[ir.Node]:
    """What has a bias, and makes one of the sides for this node alone."""
    read = [value for value in node.inputs if value is not None]
    own = [value.producer() for value in read if len(value.uses()) == 1 and not value.is_graph_output()]
    return [maker for maker in own if maker is not None and _has_constants(maker)]


def _result_of(node: ir.Node) -> str:
    return str(node.outputs[0].name)


def _weights(node: ir.Node) -> Array:
    value = node.inputs[1]
    if value is None or value.const_value is None:
        raise ValueError(f"{node.name} has no constant weights")
    return value.const_value.numpy()


def _sums_of_weights(node: ir.Node) -> Array:
    """float64[outputs]"""
    weights = _weights(node)
    sums: Array = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.float64)
    return sums


@dataclass
class _Biases:
    """Changes to biases, added up before any of them is rounded."""

    graph: ir.Graph
    _changes: dict[ir.Node, Any] = field(default_factory=dict)  # float64[outputs], or one number for all

    def __post_init__(self) -> None:
        self.names = Names(self.graph)

    def add(self, node: ir.Node, change: Array | float) -> None:
        self._changes[node] = self._changes.get(node, 0.0) + change

    def carry_out(self) -> None:
        """Give each node a bias of its own."""
        for node, change in self._changes.items():
            if not np.any(change):
                continue
            old = node.inputs[2] if len(node.inputs) > 2 else None
            before = 0.0 if old is None or old.const_value is None else old.const_value.numpy()
            array = np.broadcast_to(before + change, len(_weights(node))).astype(np.float32)
            bias = ir.tensor(array, name=self.names.new(f"{node.name}_centring"))
            node.resize_inputs(max(len(node.inputs), 3))
            node.replace_input_with(2, add_initializer(self.graph, bias))
            if old is not None and not old.uses() and not old.is_graph_output():
                del self.graph.initializers[str(old.name)]


def _clip(graph: ir.Graph, relu: ir.Node, half: np.float32, names: Names) -> None:
    """A Clip in the ReLU's place, under its names."""
    bounds = [
        add_initializer(graph, ir.tensor(np.array(bound), name=names.new(f"{relu.name}_{end}")))
        for end, bound in (("least", -half), ("greatest", half))
    ]
    clip = ir.node("Clip", [relu.inputs[0], *bounds], name=relu.name)
    made, old = clip.outputs[0], relu.outputs[0]
    made.name, made.type, made.shape = old.name, old.type, old.shape
    graph.insert_after(relu, clip)
    old.replace_all_uses_with(made)
    graph.remove(relu, safe=True)
