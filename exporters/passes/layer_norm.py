"""Layer normalisation written out, as one operator."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from exporters.passes.graph import bypass, constant, make_node, operands, produced_by


@dataclass(frozen=True)
class _Statistics:
    """What 1 / sqrt(variance + epsilon) was computed from."""

    source: ir.Value
    mean: ir.Value
    deviation: ir.Value
    epsilon: float


@dataclass(frozen=True)
class _Match:
    statistics: _Statistics
    gamma: ir.Value
    beta: ir.Value


def fuse_layer_norm(model: ir.Model) -> None:
    """Fuse (x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axis; epsilon is kept.

    With d = x - mean, r = 1 / sqrt(variance + epsilon), in any order of operands:
    (d r) gamma + beta; d (r gamma) + beta; and, with k = r gamma, x k + (beta - mean k), which is
    what tf.nn.batch_normalization computes, or x k + (-mean k + beta), Keras 3's way.
    """
    for node in tuple(model.graph.all_nodes()):
        match = _match(node) if node.op_type == "Add" else None
        if match is None or not _fits(match):
            continue
        fused = make_node(
            node,
            "LayerNormalization",
            [match.statistics.source, match.gamma, match.beta],
            {"axis": -1, "epsilon": match.statistics.epsilon},
            f"{node.name}/LayerNormalization",
        )
        fused.outputs[0].shape, fused.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
        bypass(node, fused.outputs[0])


def _match(add: ir.Node) -> _Match | None:
    for product, offset in operands(add):
        multiply = produced_by(product, "Mul")
        for left, right in operands(multiply):
            match = _scaled_last(left, right, offset) or _scaled_first(left, right, offset)
            if match:
                return match
    return None


def _scaled_last(normalised: ir.Value, gamma: ir.Value, beta: ir.Value) -> _Match | None:
    """(d r) gamma + beta, or (d / sqrt(variance + epsilon)) gamma + beta."""
    divide = produced_by(normalised, "Div")
    if divide is not None:
        statistics = _root(divide.inputs[1])
        if statistics is not None and divide.inputs[0] is statistics.deviation:
            return _Match(statistics, gamma, beta)
    for deviation, inverse in operands(produced_by(normalised, "Mul")):
        statistics = _inverse(inverse)
        if statistics is not None and deviation is statistics.deviation:
            return _Match(statistics, gamma, beta)
    return None


def _scaled_first(left: ir.Value, factor: ir.Value, offset: ir.Value) -> _Match | None:
    """Match d k + beta, x k + (beta - mean k) or x k + (-mean k + beta), with k = r gamma."""
    for inverse, gamma in operands(produced_by(factor, "Mul")):
        statistics = _inverse(inverse)
        if statistics is None:
            continue
        if left is statistics.deviation:
            return _Match(statistics, gamma, offset)
        beta = _less_scaled_mean(offset, statistics.mean, factor)
        if left is statistics.source and beta is not None:
            return _Match(statistics, gamma, beta)
    return None


def _less_scaled_mean(offset: ir.Value, mean: ir.Value, factor: ir.Value) -> ir.Value | None:
    """beta, where `offset` is beta - mean * factor."""
    subtract = produced_by(offset, "Sub")
    if subtract is not None and (mean, factor) in operands(produced_by(subtract.inputs[1], "Mul")):
        return subtract.inputs[0]
    for product, beta in operands(produced_by(offset, "Add")):
        for negated, other in operands(produced_by(product, "Mul")):
            negate = produced_by(negated, "Neg")
            if negate is not None and negate.inputs[0] is mean and other is factor:
                return beta
    return None


def _inverse(value: ir.Value) -> _Statistics | None:
    reciprocal = produced_by(value, "Reciprocal")
    return None if reciprocal is None else _root(reciprocal.inputs[0])


def _root(value: ir.Value | None) -> _Statistics | None:
    """Statistics of sqrt(mean((x - mean(x))^2) + epsilon)."""
    root = produced_by(value, "Sqrt")
    for variance, epsilon in operands(produced_by(root.inputs[0], "Add") if root else None):
        number = constant(epsilon)
        averaged = _average_over_last(variance)
        deviation = None if averaged is None else _squared(averaged)
        subtract = produced_by(deviation, "Sub")
        if number is None or number.size != 1 or deviation is None or subtract is None:
            continue
        source, mean = subtract.inputs
        if source is not None and mean is not None and _average_over_last(mean) is source:
            return _Statistics(source, mean, deviation, float(number.item()))
    return None


def _average_over_last(value: ir.Value | None) -> ir.Value | None:
    """x, where `value` is the mean of x over its last axis, which stays as 1."""
    reduce = produced_by(value, "ReduceMean")
    if reduce is None or len(reduce.inputs) < 2 or reduce.inputs[0] is None:
        return None
    keeps = reduce.attributes.get("keepdims")
    axes, shape = constant(reduce.inputs[1]), reduce.inputs[0].shape
    last = {-1} if shape is None else {-1, len(shape) - 1}
    if axes is None or axes.size != 1 or int(axes.item()) not in last or (keeps and not keeps.as_int()):
        return None
    return reduce.inputs[0]


def _squared(value: ir.Value) -> ir.Value | None:
    multiply, power = produced_by(value, "Mul"), produced_by(value, "Pow")
    if multiply is not None and multiply.inputs[0] is multiply.inputs[1]:
        return multiply.inputs[0]
    exponent = constant(power.inputs[1]) if power else None
    if power is not None and exponent is not None and exponent.size == 1 and exponent.item() == 2:
        return power.inputs[0]
    return None


def _fits(match: _Match) -> bool:
    """Are gamma and beta vectors as long as the last axis, as the operator wants them?"""
    shape = match.statistics.source.shape
    gamma, beta = constant(match.gamma), constant(match.beta)
    if shape is None or gamma is None or beta is None:
        return False
    return gamma.shape == beta.shape == (shape[-1],)
