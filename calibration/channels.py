"""Which channels of which tensors can be rescaled together without a change to what a network computes.

Dividing a channel of an activation by a positive number is undone by multiplying the weights that read it,
and done by dividing the weights that make it; in between, ReLU, pooling, sums and concatenation hand the
factor on (M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV
2019, 4.1). All channels that such operators tie together form a group with one factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from runtime.tensors import Array


@dataclass(frozen=True)
class Channels:
    """One axis of a tensor, and which group each index along it belongs to."""

    axis: int
    groups: Array


@dataclass(frozen=True)
class Parameter:
    """A constant input of a node that holds something for each channel along `axis`.

    inverse: it is divided where others are multiplied.
    """

    index: int
    axis: int
    inverse: bool = False


@dataclass(frozen=True)
class Absorber:
    """What of a node takes a factor in: of its input's channels, or of its output's.

    parameters: constants to multiply by the factor, one for each channel.
    """

    node: ir.Node
    channels: Channels
    parameters: tuple[Parameter, ...]


@dataclass
class ChannelGroups:
    """The groups of one graph.

    tensors: a value to its channels, for those that have some; `resolved` gives their groups.
    makers:  what divides a tensor's channels.
    readers: what multiplies them back.
    """

    tensors: dict[ir.Value, Channels] = field(default_factory=dict)
    makers: list[Absorber] = field(default_factory=list)
    readers: list[Absorber] = field(default_factory=list)
    _parents: list[int] = field(default_factory=lambda: [FIXED])

    def resolved(self, channels: Channels) -> Array:
        """The group of each channel; FIXED where its factor has to stay 1."""
        return np.array([self._root(number) for number in channels.groups], np.int64)

    def fresh(self, count: int) -> Array:
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def tie(self, one: Array, other: Array) -> None:
        """Give channels that have to share their factors the same groups; FIXED wins."""
        for a, b in zip(map(self._root, one), map(self._root, other), strict=True):
            low, high = min(a, b), max(a, b)
            self._parents[high] = low

    def fix(self, value: ir.Value | None) -> None:
        """Nothing is known of who reads or makes `value`: its channels stay as they are."""
        if value is not None and value in self.tensors:
            groups = self.tensors[value].groups
            self.tie(groups, np.full(len(groups), FIXED))

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number


FIXED = 0
"""The group of all channels whose factor is 1."""


def channel_groups(graph: ir.Graph) -> ChannelGroups:
    """Walk `graph` in order; what no rule knows fixes the channels of all that it reads."""
    found = ChannelGroups()
    for node in graph:
        rule = RULES.get(node.op_type) if node.domain == "" else None
        if rule is None or not rule(node, found):
            for value in _read_by(node):
                found.fix(value)
    for value in graph.outputs:
        found.fix(value)
    return found


Rule = Callable[[ir.Node, ChannelGroups], bool]
"""Hands channels from a node's inputs to its output; False where this node is none that it knows."""


def _weighted(
    read: Callable[[ir.Node], tuple[int, tuple[Parameter, ...]] | None],
    made: Callable[[ir.Node], tuple[int, tuple[Parameter, ...]] | None],
) -> Rule:
    """A node with weights: it takes factors in on both sides.

    read, made: from the node to the axis of its channels, and the parameters that hold them.
    """

    def rule(node: ir.Node, found: ChannelGroups) -> bool:
        inputs, outputs = read(node), made(node)
        if outputs is None or not _own_constants(node):
            return False
        value = node.inputs[0]
        if inputs is None or value is None:
            found.fix(value)
        elif value in found.tensors:
            channels = found.tensors[value]
            if channels.axis == _positive(inputs[0], value):
                found.readers.append(Absorber(node, channels, inputs[1]))
            else:
                found.fix(value)
        axis, parameters = outputs
        count = _constant_shape(node, parameters[0].index)[parameters[0].axis]
        channels = Channels(_positive(axis, node.outputs[0]), found.fresh(int(count)))
        found.tensors[node.outputs[0]] = channels
        found.makers.append(Absorber(node, channels, parameters))
        return True

    return rule


def _biased(node: ir.Node, *parameters: Parameter) -> tuple[Parameter, ...]:
    """`parameters`, without those that the node does not have."""
    return tuple(p for p in parameters if p.index < len(node.inputs) and node.inputs[p.index] is not None)


def _convolution_reads(node: ir.Node) -> tuple[int, tuple[Parameter, ...]] | None:
    # A depthwise convolution's weights hold a factor of input and output on the same axis.
    return (1, (Parameter(1, 1),)) if node.attributes.get_int("group", 1) == 1 else None


def _convolution_makes(node: ir.Node) -> tuple[int, tuple[Parameter, ...]]:
    return 1, _biased(node, Parameter(1, 0, inverse=True), Parameter(2, 0, inverse=True))


def _transposed_reads(node: ir.Node) -> tuple[int, tuple[Parameter, ...]] | None:
    return (1, (Parameter(1, 0),)) if node.attributes.get_int("group", 1) == 1 else None


def _transposed_makes(node: ir.Node) -> tuple[int, tuple[Parameter, ...]] | None:
    if node.attributes.get_int("group", 1) != 1:
        return None
    return 1, _biased(node, Parameter(1, 1, inverse=True), Parameter(2, 0, inverse=True))


def _gemm_reads(node: ir.Node) -> tuple[int, tuple[Parameter, ...]] | None:
    if node.attributes.get_int("transA", 0):
        return None
    return 1, (Parameter(1, 1 if node.attributes.get_int("transB", 0) else 0),)


def _gemm_makes(node: ir.Node) -> tuple[int, tuple[Parameter, ...]]:
    weight_axis = 0 if node.attributes.get_int("transB", 0) else 1
    return 1, _biased(node, Parameter(1, weight_axis, inverse=True), Parameter(2, -1, inverse=True))


def _product_reads(node: ir.Node) -> tuple[int, tuple[Parameter, ...]] | None:
    return -1, (Parameter(1, 0),)


def _product_makes(node: ir.Node) -> tuple[int, tuple[Parameter, ...]] | None:
    return (-1, (Parameter(1, 1, inverse=True),)) if len(_constant_shape(node, 1)) == 2 else None


def _batch_normalisation_reads(node: ir.Node) -> tuple[int, tuple[Parameter, ...]]:
    return 1, (Parameter(1, 0), Parameter(3, 0, inverse=True))


def _batch_normalisation_makes(node: ir.Node) -> tuple[int, tuple[Parameter, ...]]:
    return 1, (Parameter(1, 0, inverse=True), Parameter(2, 0, inverse=True))


def _layer_normalisation_makes(node: ir.Node) -> tuple[int, tuple[Parameter, ...]] | None:
    if len(_constant_shape(node, 1)) != 1:
        return None
    return -1, _biased(node, Parameter(1, 0, inverse=True), Parameter(2, 0, inverse=True))


def _passes(node: ir.Node, found: ChannelGroups) -> bool:
    """Works channel by channel and in proportion, and leaves every axis where it is."""
    channels = found.tensors.get(_first(node))
    if channels is not None:
        found.tensors[node.outputs[0]] = channels
    return True


def _pads(node: ir.Node, found: ChannelGroups) -> bool:
    value = node.inputs[2] if len(node.inputs) > 2 else None
    filler = value.const_value if value is not None else None
    zero = value is None or (filler is not None and not filler.numpy().any())
    return zero and len(node.inputs) < 4 and _keeps_channels(node, found) and _passes(node, found)


def _adds(node: ir.Node, found: ChannelGroups) -> bool:
    """A sum of two alike, which then share their factors; of one and a constant, which takes them in."""
    first, second = node.inputs
    if first is None or second is None or node.op_type != "Add":
        return False
    if second.const_value is not None or first.const_value is not None:
        return _adds_constant(node, found)
    if first not in found.tensors or second not in found.tensors or first.shape != second.shape:
        return False
    one, other = found.tensors[first], found.tensors[second]
    if one.axis != other.axis:
        return False
    found.tie(one.groups, other.groups)
    found.tensors[node.outputs[0]] = one
    return True


def _adds_constant(node: ir.Node, found: ChannelGroups) -> bool:
    index = 1 if node.inputs[1] is not None and node.inputs[1].const_value is not None else 0
    value, constant = node.inputs[1 - index], node.inputs[index]
    channels = found.tensors.get(value) if value is not None else None
    if channels is None or constant is None or constant.const_value is None or len(constant.uses()) != 1:
        return False
    shape, rank = _constant_shape(node, index), len(_shape(value))
    axis = channels.axis - rank  # as broadcasting counts: from the last
    if len(shape) < -axis or shape[axis] != len(channels.groups):
        return False
    found.tensors[node.outputs[0]] = channels
    found.makers.append(Absorber(node, channels, (Parameter(index, axis, inverse=True),)))
    return True


def _concatenates(node: ir.Node, found: ChannelGroups) -> bool:
    parts = [found.tensors.get(value) for value in node.inputs if value is not None]
    axis = _positive(node.attributes.get_int("axis", 1), node.outputs[0])
    known = [part for part in parts if part is not None]
    if len(known) != len(node.inputs) or any(part.axis != axis for part in known):
        return False
    groups = np.concatenate([part.groups for part in known])
    found.tensors[node.outputs[0]] = Channels(axis, groups)
    return True


def _reshapes(node: ir.Node, found: ChannelGroups) -> bool:
    """[N, C, 1, 1] as [N, C], behind the pool at the end of a classifier."""
    channels = found.tensors.get(_first(node))
    shape, made = _shape(node.inputs[0]), _shape(node.outputs[0])
    if channels is None:
        return True
    if channels.axis != 1 or len(made) < 2 or made[1] != len(channels.groups):
        return False
    if any(size != 1 for size in (*shape[2:], *made[2:])):
        return False
    found.tensors[node.outputs[0]] = channels
    return True


def _transposes(node: ir.Node, found: ChannelGroups) -> bool:
    channels = found.tensors.get(_first(node))
    order = node.attributes.get_ints("perm", ())
    if channels is None:
        return True
    if not order:
        return False
    found.tensors[node.outputs[0]] = Channels(list(order).index(channels.axis), channels.groups)
    return True


def _reduces(node: ir.Node, found: ChannelGroups) -> bool:
    """A mean over positions; the channels stay where they are."""
    channels = found.tensors.get(_first(node))
    if channels is None:
        return True
    axes = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if axes is None:
        return False
    rank = len(_shape(node.inputs[0]))
    reduced = {int(axis) % rank for axis in axes.numpy().reshape(-1)}
    keeps = node.attributes.get_int("keepdims", 1)
    before = [axis for axis in reduced if axis < channels.axis]
    if channels.axis in reduced:
        return False
    axis = channels.axis if keeps else channels.axis - len(before)
    found.tensors[node.outputs[0]] = Channels(axis, channels.groups)
    return True


def _keeps_channels(node: ir.Node, found: ChannelGroups) -> bool:
    """Whether the output has as many along the axis of the channels as the input."""
    channels = found.tensors.get(_first(node))
    made = _shape(node.outputs[0])
    return channels is None or (len(made) > channels.axis and made[channels.axis] == len(channels.groups))


def _resizes(node: ir.Node, found: ChannelGroups) -> bool:
    return _keeps_channels(node, found) and _passes(node, found)


RULES: Mapping[str, Rule] = {
    "Conv": _weighted(_convolution_reads, _convolution_makes),
    "ConvTranspose": _weighted(_transposed_reads, _transposed_makes),
    "Gemm": _weighted(_gemm_reads, _gemm_makes),
    "MatMul": _weighted(_product_reads, _product_makes),
    "BatchNormalization": _weighted(_batch_normalisation_reads, _batch_normalisation_makes),
    "LayerNormalization": _weighted(lambda node: None, _layer_normalisation_makes),
    "Add": _adds,
    "Concat": _concatenates,
    "Flatten": _reshapes,
    "Reshape": _reshapes,
    "Squeeze": _reshapes,
    "Transpose": _transposes,
    "ReduceMean": _reduces,
    "Pad": _pads,
    "Resize": _resizes,
    **dict.fromkeys(
        ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool", "Relu"),
        _passes,
    ),
}
"""Operator type of the standard domain to its rule; all others fix what they read."""


def _read_by(node: ir.Node) -> Iterator[ir.Value | None]:
    """Inputs of `node` and of the graphs that it holds."""
    yield from node.inputs
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            for inner in attribute.as_graph().all_nodes():
                yield from inner.inputs


def _own_constants(node: ir.Node) -> bool:
    """Whether all but the first input are constants that no other node reads."""
    given = [value for value in node.inputs[1:] if value is not None]
    return bool(given) and all(
        value.const_value is not None and len(value.uses()) == 1 and not value.is_graph_output()
        for value in given
    )


def _first(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    if value is None:
        raise ValueError(f"{node.name} has no first input")
    return value


def _shape(value: ir.Value | None) -> tuple[int | ir.SymbolicDim, ...]:
    return tuple(value.shape or ()) if value is not None else ()


def _constant_shape(node: ir.Node, index: int) -> tuple[int, ...]:
    value = node.inputs[index] if index < len(node.inputs) else None
    tensor = value.const_value if value is not None else None
    return tuple(int(size) for size in tensor.shape.numpy()) if tensor is not None else ()


def _positive(axis: int, value: ir.Value) -> int:
    return axis % max(len(_shape(value)), 1)
