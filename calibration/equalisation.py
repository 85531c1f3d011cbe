"""Evens out the channels of activations before they are quantised, and leaves what a network computes alone.

A tensor has one INT8 scale, set by its largest channel; a channel a hundred times smaller is left with one or
two steps. Dividing the large channels down and multiplying the weights that read them moves the unevenness to
the weights, which have a scale for each output channel. How far it is moved is the `strength`
(G. Xiao et al., "SmoothQuant", ICML 2023, equation 4; for convolutions M. Nagel et al., ICCV 2019).

Factors are powers of two: the rescaled network computes the same bits in float, for no mantissa changes. A
shift (`smooth`) is exact but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from calibration.channels import FIXED, Absorber, channel_groups
from calibration.graphs import Names, add_initializer, add_node
from calibration.int8_plan import Plan, plan_int8
from calibration.observers.channels import ChannelExtremes
from runtime.tensors import Array

_LEAST = 2.0**-12
"""Of a channel's magnitude beside the tensor's largest: what is smaller does not count at INT8."""


def uneven_tensors(graph: ir.Graph) -> dict[str, int]:
    """The tensors whose channels' magnitudes both passes ask for, and the axis of the channels."""
    groups = channel_groups(graph)
    plan = plan_int8(graph)
    found = {
        str(value.name): channels.axis
        for value, channels in groups.tensors.items()
        if value.name in plan.sources and value.producer() is not None
    }
    for value, _ in _products(plan):
        found.setdefault(str(value.name), len(value.shape or ()) - 1)
    return found


def equalise(graph: ir.Graph, extremes: Mapping[str, ChannelExtremes], strength: float) -> int:
    """Rescale channels in place wherever the network takes the factors in; returns how many it rescaled.

    extremes: of each channel, of the tensors that `uneven_tensors` names.
    strength: 0 leaves all unevenness to the activations, 1 hands all of it to the weights.
    """
    groups, plan = channel_groups(graph), plan_int8(graph)
    count = 1 + max((int(c.groups.max(initial=0)) for c in groups.tensors.values()), default=0)
    seen = np.zeros(count)
    for value, channels in groups.tensors.items():
        if value.name in plan.sources and value.name in extremes:
            np.maximum.at(seen, groups.resolved(channels), _relative(extremes[str(value.name)].amax))
    weighed = np.zeros(count)
    axes = {reader.node: reader.weight for reader in plan.readers if reader.weight is not None}
    for absorber in groups.readers:
        if absorber.node in axes:
            relative = _columns(_array(absorber.node, 1), axes[absorber.node][1], absorber.parameters[0].axis)
            np.maximum.at(weighed, groups.resolved(absorber.channels), relative)
    factors = _factors(seen, weighed, strength)
    factors[FIXED] = 1.0
    for absorber in (*groups.makers, *groups.readers):
        _absorb(graph, absorber, factors[groups.resolved(absorber.channels)])
    return int(np.count_nonzero(factors != 1.0))


def smooth(
    graph: ir.Graph,
    extremes: Mapping[str, ChannelExtremes],
    strength: float | None,
    *,
    shift: bool = False,
) -> int:
    """Even out what products alone read as INT8 and a float operator made; returns how many it changed.

    Those are the inputs of a transformer's MatMuls: behind a normalisation, whose result often goes on in
    float as a residual, so that it cannot take factors in, or behind a GELU. A multiplication in front of the
    products divides channels as `strength` says (None: not at all). With `shift` a subtraction before it
    centres each channel that is not symmetric, and the bias behind the product takes in what that changes: a
    GELU's result, of which nothing is below -0.17, then has steps half as wide (X. Wei et al., "Outlier
    Suppression+", EMNLP 2023).
    """
    plan = plan_int8(graph)
    names = Names(graph)
    changed = 0
    for value, nodes in _products(plan):
        if value.name not in extremes:
            continue
        seen = extremes[str(value.name)]
        middles = _middles(seen) if shift and all(map(_bias_behind, nodes)) else np.zeros(len(seen.amax))
        magnitudes = np.maximum(seen.maximum - middles, middles - seen.minimum)
        factors = np.ones(len(middles))
        if strength is not None:
            weighed = np.max([_columns(_array(node, 1), 1, 0) for node in nodes], axis=0)
            factors = _factors(_relative(magnitudes), weighed, strength)
        if np.any(factors != 1.0) or middles.any():
            _centre_and_divide(graph, value, nodes, (middles, factors), names)
            changed += 1
    return changed


_LEAST_GAIN = 0.9
"""A shift is worth a subtraction where it leaves less of the greatest magnitude than this."""


def _middles(seen: ChannelExtremes) -> Array:
    """What to subtract from each channel, float32 values; zeros where that makes steps hardly finer."""
    middles = (seen.minimum.astype(np.float64) + seen.maximum) / 2
    halves = (seen.maximum.astype(np.float64) - seen.minimum) / 2
    gains = halves.max() < _LEAST_GAIN * seen.amax.max()
    return np.where(gains, middles, 0.0).astype(np.float32).astype(np.float64)


def _bias_behind(node: ir.Node) -> ir.Value | None:
    """The constant that the only reader of a product adds to it, one number for each column."""
    uses = tuple(node.outputs[0].uses())
    if len(uses) != 1 or node.outputs[0].is_graph_output() or uses[0].node.op_type != "Add":
        return None
    bias = uses[0].node.inputs[1 - uses[0].idx]
    if bias is None or bias.const_value is None or len(bias.uses()) != 1 or bias.is_graph_output():
        return None
    columns = _array(node, 1).shape[1]
    return bias if bias.const_value.shape.numpy() == (columns,) else None


def _products(plan: Plan) -> Iterator[tuple[ir.Value, list[ir.Node]]]:
    """Activations whose INT8 readers are all MatMuls by matrices of their own, and those."""
    reading: dict[ir.Value, list[ir.Node]] = {}
    other: set[ir.Value] = set()
    for reader in plan.readers:
        value = reader.node.inputs[0]
        is_product = reader.node.op_type == "MatMul" and reader.weight is not None and _owns(reader.node, 1)
        for index in reader.activations:
            read = reader.node.inputs[index]
            if read is not None and not (is_product and index == 0):
                other.add(read)
        if is_product and value is not None:
            reading.setdefault(value, []).append(reader.node)
    for value, nodes in reading.items():
        maker = value.producer()
        if value not in other and maker is not None and value.name not in plan.integer:
            yield value, nodes


def _relative(magnitudes: Array) -> Array:
    largest = float(magnitudes.max(initial=0.0))
    return magnitudes / largest if largest > 0 else np.zeros_like(magnitudes)


def _columns(weight: Array, output_axis: int, input_axis: int) -> Array:
    """The greatest weight of each input channel, beside the greatest of its output channel."""
    sizes = np.moveaxis(np.abs(weight), (output_axis, input_axis), (0, 1))
    sizes = sizes.reshape(*sizes.shape[:2], -1).max(axis=2)
    rows = sizes.max(axis=1, keepdims=True)
    return np.asarray((sizes / np.where(rows > 0, rows, 1.0)).max(axis=0), np.float64)


def _factors(seen: Array, weighed: Array, strength: float) -> Array:
    """What each channel is divided by; 1 where nothing but zeros was seen, or nothing weighs it."""
    activation = np.maximum(seen, _LEAST)
    weight = np.maximum(weighed, _LEAST)
    # What no quantised weights read has nothing to lose by being evened out entirely.
    exact = np.where(weighed > 0, activation**strength / weight ** (1 - strength), activation)
    return np.where(seen > 0, np.exp2(np.rint(np.log2(exact))), 1.0)


def _absorb(graph: ir.Graph, absorber: Absorber, factors: Array) -> None:
    if np.all(factors == 1.0):
        return
    for parameter in absorber.parameters:
        array = _array(absorber.node, parameter.index)
        shape = [1] * array.ndim
        shape[parameter.axis] = len(factors)
        wide = factors.reshape(shape).astype(np.float32)
        _replace(absorber.node.inputs[parameter.index], array / wide if parameter.inverse else array * wide)


def _centre_and_divide(
    graph: ir.Graph, value: ir.Value, nodes: list[ir.Node], change: tuple[Array, Array], names: Names
) -> None:
    """Let `nodes` read (value - middles) / factors, and their weights and biases make that good."""
    middles, factors = change
    current = value
    if middles.any():
        current = _applied(graph, "Sub", current, middles, names.new(f"{value.name}_centred"))
    if np.any(factors != 1.0):
        current = _applied(graph, "Mul", current, 1.0 / factors, names.new(f"{value.name}_smoothed"))
    for node in nodes:
        weight = _array(node, 1)
        bias = _bias_behind(node)
        if bias is not None and bias.const_value is not None and middles.any():
            _replace(bias, bias.const_value.numpy() + middles @ weight.astype(np.float64))
        node.replace_input_with(0, current)
        _replace(node.inputs[1], weight * factors[:, None].astype(np.float32))


def _applied(graph: ir.Graph, op_type: str, value: ir.Value, array: Array, name: str) -> ir.Value:
    """A new value `name`: an operator of `value` and one number for each channel, behind `value`."""
    constant = add_initializer(graph, ir.tensor(array.astype(np.float32), name=f"{name}_by"))
    node = ir.node(op_type, [value, constant], name=name)
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = name, value.type, value.shape
    add_node(graph, node, after=value)
    return node.outputs[0]


def _replace(value: ir.Value | None, array: Array) -> None:
    if value is None or value.const_value is None:
        raise ValueError("only constants take factors in")
    value.const_value = ir.tensor(np.ascontiguousarray(array, np.float32), name=str(value.name))


def _array(node: ir.Node, index: int) -> Array:
    value = node.inputs[index]
    if value is None or value.const_value is None:
        raise ValueError(f"input {index} of {node.name} is no constant")
    return value.const_value.numpy()


def _owns(node: ir.Node, index: int) -> bool:
    """Whether that input is a constant matrix which nothing else reads."""
    value = node.inputs[index]
    if value is None or value.const_value is None or value.is_graph_output():
        return False
    return len(value.uses()) == 1 and len(value.const_value.shape) == 2
