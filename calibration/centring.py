"""Gives what is never negative all 256 numbers of INT8, where only pointwise operators read it.

Behind a ReLU half of them stand for nothing. Of values up to 255 steps, c = 128 steps is subtracted: 0 is
-128 then, and the greatest 127. A product with a matrix, or a convolution of single pixels without padding,
makes of y - c what it makes of y, with c times the sum of its weights in its bias; in a residual sum, c goes
on to the next ReLU. What makes y takes -c into its bias, and relu(z) - c is z - c clipped to INT8's ends: no
operator is added, and where the Q reads the result alone it does the clipping, so that one goes
(calibration.qdq). Where a convolution pads, 0 would have to be -c, and y stays as it is.

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

from calibration.graphs import Names, add_initializer, drop_unread
from calibration.int8_plan import plan_int8
from calibration.placement import MOVERS
from calibration.ranges import INT8_MAX, INT8_MIN, Range
from runtime.tensors import Array

_BIASED = frozenset({"BatchNormalization", "Conv"})
"""Operators whose third input is added to their result, a number for each channel."""

_PASS_ON = MOVERS | {"MaxPool"}
"""What makes of y - c what it makes of y, less c: padding is never the greatest of neighbours.

A Concat of centred tensors does, too, and gains nothing: OpenVINO is right and fast with it on uint8 only.
"""

_UNPADDED = frozenset({"NOTSET", "VALID"})

_STEPS = INT8_MAX - INT8_MIN


def centrable_tensors(graph: ir.Graph) -> tuple[str, ...]:
    """The results of ReLUs that can be centred, all of them or some."""
    return tuple(_result_of(relu) for relu in _centrable(graph))


def centre(graph: ir.Graph, ranges: Mapping[str, Range]) -> int:
    """Centre what `centrable_tensors` names in place; returns how many tensors that are.

    ranges: of these tensors; what they clip is clipped here. Everything else computes the same, but for
    rounding.
    """
    steps = {relu: ranges[_result_of(relu)].amax / _STEPS for relu in _centrable(graph)}
    steps = {relu: step for relu, step in steps.items() if step > 0}
    less: dict[ir.Value | None, float] = {
        value: -INT8_MIN * step for relu, step in steps.items() for value in _moved(relu.outputs[0])
    }
    wanted = {relu.inputs[0]: -INT8_MIN * step for relu, step in steps.items()}
    changes = _Biases(graph)
    for node in graph:
        if node.inputs and node.inputs[0] in less and _is_pointwise(node):
            changes.add(_with_bias(node), less[node.inputs[0]] * _sums_of_weights(node))
        if _has_bias(node) and node.outputs[0] in wanted:
            changes.add(node, -wanted[node.outputs[0]])
        if _is_adjustable_sum(node):
            lacks = sum(less.get(value, 0.0) for value in node.inputs) - wanted.get(node.outputs[0], 0.0)
            makers = _only_read_by(node)
            for maker in makers:
                changes.add(maker, lacks / len(makers))
    changes.carry_out()
    for relu, step in steps.items():
        _clip(graph, relu, np.float32(step), changes.names)
    return len(steps)


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
    return _has_bias(maker) or _is_adjustable_sum(maker)


def _hands_on(use: ir.Node | None) -> bool:
    """Whether a reader makes the same of a centred tensor; None stands for the graph's outputs."""
    return use is not None and (_is_pointwise(use) or _is_adjustable_sum(use))


def _moved(value: ir.Value) -> Iterator[ir.Value]:
    """`value`, and what is made of it that is less by c, too."""
    yield value
    for node, _ in value.uses():
        if node.op_type in _PASS_ON and len(node.outputs) == 1:
            yield from _moved(node.outputs[0])


def _readers(value: ir.Value) -> Iterator[ir.Node | None]:
    """What reads `value`, or what it is moved to; None where that is an output of the graph."""
    moved = list(_moved(value))
    for each in moved:
        yield from (node for node, _ in each.uses() if node.outputs[0] not in moved)
        if each.is_graph_output():
            yield None


def _is_pointwise(node: ir.Node) -> bool:
    """Whether each of its outputs is one place times constants, no place is padding, and a bias is added."""
    if node.op_type == "MatMul":
        return not node.domain and len(_shape(node.inputs[1])) == 2 and _with_bias(node) is not node
    if node.op_type != "Conv" or not _has_bias(node) or any(size != 1 for size in _weights(node).shape[2:]):
        return False
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    return not any(node.attributes.get_ints("pads", ())) and auto in _UNPADDED


def _shape(constant: ir.Value | None) -> tuple[int, ...]:
    """Of a constant; () of what is none."""
    tensor = constant.const_value if constant is not None else None
    return () if tensor is None else tuple(tensor.shape.numpy())


def _with_bias(product: ir.Node) -> ir.Node:
    """The node that adds the bias of a Conv or MatMul: that itself, or the Add that alone reads it."""
    made = product.outputs[0]
    readers = [use.node for use in made.uses()] if not made.is_graph_output() else []
    if product.op_type == "MatMul" and len(readers) == 1 and _has_bias(readers[0]):
        return readers[0]
    return product


def _bias_index(node: ir.Node) -> int | None:
    """Which input of `node` is, or would be, a constant that is added to its result."""
    constant = [value is None or value.const_value is not None for value in node.inputs]
    if node.domain or not constant:
        return None
    if node.op_type == "Add":
        return constant.index(True) if sum(constant) == 1 else None
    return 2 if node.op_type in _BIASED and all(constant[1:]) else None


def _has_bias(node: ir.Node) -> bool:
    return _bias_index(node) is not None


def _is_adjustable_sum(node: ir.Node) -> bool:
    return node.op_type == "Add" and not _has_bias(node) and bool(_only_read_by(node))


def _only_read_by(node: ir.Node) -> Sequence[ir.Node]:
    """What has a bias, and makes one of the sides for this node alone."""
    read = [value for value in node.inputs if value is not None]
    own = [value.producer() for value in read if len(value.uses()) == 1 and not value.is_graph_output()]
    return [maker for maker in own if maker is not None and _has_bias(maker)]


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
    rows = weights.T if node.op_type == "MatMul" else weights.reshape(len(weights), -1)
    sums: Array = rows.sum(axis=1, dtype=np.float64)
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
            if np.any(change):
                self._give(node, change)

    def _give(self, node: ir.Node, change: Array | float) -> None:
        index = _bias_index(node)
        if index is None:
            raise ValueError(f"{node.name} adds no constant")
        old = node.inputs[index] if len(node.inputs) > index else None
        before = 0.0 if old is None or old.const_value is None else old.const_value.numpy()
        shape = np.shape(before) if node.op_type == "Add" else (len(_weights(node)),)
        array = np.asarray(before + change + np.zeros(shape), np.float32)
        bias = ir.tensor(array, name=self.names.new(f"{node.name}_centring"))
        node.resize_inputs(max(len(node.inputs), index + 1))
        node.replace_input_with(index, add_initializer(self.graph, bias))
        drop_unread(self.graph, old)


def _clip(graph: ir.Graph, relu: ir.Node, step: np.float32, names: Names) -> None:
    """A Clip in the ReLU's place, under its names."""
    bounds = [
        add_initializer(graph, ir.tensor(np.array(end * step), name=names.new(f"{relu.name}_{name}")))
        for name, end in (("least", INT8_MIN), ("greatest", INT8_MAX))
    ]
    clip = ir.node("Clip", [relu.inputs[0], *bounds], name=relu.name)
    made, old = clip.outputs[0], relu.outputs[0]
    made.name, made.type, made.shape = old.name, old.type, old.shape
    graph.insert_after(relu, clip)
    old.replace_all_uses_with(made)
    graph.remove(relu, safe=True)
