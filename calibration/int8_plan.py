"""Which tensors of a graph are INT8.

A tensor is quantised because an operator reads it as INT8; never because of where it was made (but for what
goes into CHEAP_IN_FLOAT). So a convolution's output stays float until after its ReLU, and nothing stands
between the two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from calibration.placement import (
    CHEAP_IN_FLOAT,
    FLOAT_REASONS,
    FUSED_ACTIVATIONS,
    MOVERS,
    PLACEMENTS,
    Placement,
)
from calibration.tables import LookUp, look_ups
from runtime.costs import MULTIPLYING
from runtime.errors import CalibrationError


@dataclass(frozen=True)
class Reader:
    """A node that reads INT8.

    activations: indices of the inputs that are quantised per tensor.
    weight:      index and output-channel axis of the quantised constant input, if it has one.
    """

    node: ir.Node
    activations: tuple[int, ...]
    weight: tuple[int, int] | None


@dataclass(frozen=True)
class Plan:
    """What INT8 does to one graph.

    readers: in the graph's order.
    sources: quantised tensor to the tensors whose united range gives its scale (often itself).
    integer: quantised tensors made by a reader, directly or through a fused activation.
    look_ups: what picks rows of tables that are worth quantising.
    skipped: (node, reason) for each multiplying operator that stays in float.
    """

    readers: tuple[Reader, ...]
    sources: Mapping[str, tuple[str, ...]]
    integer: frozenset[str]
    look_ups: tuple[LookUp, ...]
    skipped: tuple[tuple[str, str], ...]

    @property
    def observed(self) -> tuple[str, ...]:
        """The tensors whose ranges are needed."""
        return tuple(dict.fromkeys(name for names in self.sources.values() for name in names))


KEPT = "kept in float to hold the accuracy"
"""The reason of a node that the caller named."""


def plan_int8(graph: ir.Graph, keep: Collection[str] = ()) -> Plan:
    """Decide from the last node to the first, so that a tensor's readers are known before its maker.

    keep: names of nodes that stay in float, whatever their type.
    """
    quantised: dict[ir.Value, None] = {}
    readers: list[Reader] = []
    skipped: list[tuple[str, str]] = []
    for node in reversed(graph):
        reason = FLOAT_REASONS.get(node.op_type) if _multiplies(node) else None
        placement = PLACEMENTS.get(node.op_type) if node.domain == "" else None
        if placement is not None:
            reason = KEPT if node.name in keep else _reason_against(node, placement, quantised)
        if reason is not None and (placement is None or not placement.carries):
            skipped.append((str(node.name), reason))
        elif reason is None and placement is not None:
            reader = _reader(node, placement)
            quantised.update(dict.fromkeys(_value(node, index) for index in reader.activations))
            readers.append(reader)
    readers = _worth_it(reversed(readers))
    quantised = dict.fromkeys(
        _value(each.node, index) for each in reversed(readers) for index in each.activations
    )
    quantised.update(dict.fromkeys(_read_in_float(readers, quantised)))
    sources, integer = _sources(readers, quantised), _made_as_integer(readers, quantised)
    return Plan(tuple(readers), sources, integer, tuple(look_ups(graph)), tuple(reversed(skipped)))


def _multiplies(node: ir.Node) -> bool:
    """Whether an operator of FLOAT_REASONS does: one that repeats a graph only where that does."""
    body = node.attributes.get("body")
    return body is None or any(inner.op_type in MULTIPLYING for inner in body.as_graph().all_nodes())


def _worth_it(readers: Iterable[Reader]) -> list[Reader]:
    """Without those that only move or join what float operators made: it can as well be quantised behind.

    That is fewer steps: one for a row of eleven features that Wide&Deep joins, and OpenVINO moves an image's
    channels for nothing then.
    """
    kept: list[Reader] = []
    integer: set[ir.Value] = set()
    for reader in readers:
        node = reader.node
        if not _moves_or_joins(node) or any(_value(node, index) in integer for index in reader.activations):
            kept.append(reader)
            integer.add(_integer_result(node))
    return kept


def _moves_or_joins(node: ir.Node) -> bool:
    return node.domain == "" and (node.op_type in MOVERS or node.op_type == "Concat")


def _integer_result(node: ir.Node) -> ir.Value:
    """What its kernel gives: of a product of two matrices, ONNX Runtime's adds the bias, too."""
    value = node.outputs[0]
    takes_bias = node.op_type == "MatMul" and len(value.shape or ()) == 2
    return epilogue(biased(value) if takes_bias else value)


def _read_in_float(readers: list[Reader], quantised: Mapping[ir.Value, None]) -> Iterator[ir.Value]:
    """What operators with weights hand to nothing but operators that compute little and stay in float.

    ONNX Runtime has no fast kernel that reads integers and answers in float: without it the convolutions
    would run in float, too. Each tensor keeps a scale of its own.
    """
    for reader in readers:
        made = epilogue(reader.node.outputs[0])
        if reader.weight is not None and made not in quantised and _goes_into_cheap(made):
            yield made


def _goes_into_cheap(value: ir.Value) -> bool:
    """Whether all that reads `value`, wherever it is moved, is cheap; an output keeps its shades."""
    uses = tuple(value.uses())
    return bool(uses) and not value.is_graph_output() and all(_is_cheap(use.node) for use in uses)


def _is_cheap(node: ir.Node) -> bool:
    moved = node.op_type in MOVERS and _goes_into_cheap(node.outputs[0])
    return moved or node.op_type in CHEAP_IN_FLOAT


def nothing_to_quantise(path: Path, graph: ir.Graph) -> CalibrationError:
    """The error for a graph whose plan has no readers."""
    found = ", ".join(sorted({node.op_type for node in graph})) or "no operator at all"
    return CalibrationError(
        f"{path} has nothing to quantise: INT8 needs a Conv, Gemm or MatMul on float32 with constant"
        f" weights, and the graph holds {found}; use fp32, fp16 or bf16"
    )


def biased(value: ir.Value) -> ir.Value:
    """The tensor after the constant that alone is added to `value`, or `value` itself."""
    uses = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return value
    node = uses[0].node
    return node.outputs[0] if node.op_type == "Add" and any(map(_is_constant, node.inputs)) else value


def epilogue(value: ir.Value) -> ir.Value:
    """The tensor after the fused activation that alone reads `value`, or `value` itself."""
    uses = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return value
    node, index = uses[0]
    fused = node.op_type in FUSED_ACTIVATIONS and node.domain == "" and index == 0
    return node.outputs[0] if fused else value


def _reader(node: ir.Node, placement: Placement) -> Reader:
    weight = placement.weight
    if weight is not None and _is_constant(node.inputs[weight.index]):
        activations = tuple(i for i in _activation_inputs(node, placement) if i != weight.index)
        return Reader(node, activations, (weight.index, weight.channel_axis(node)))
    return Reader(node, _activation_inputs(node, placement), None)


def _activation_inputs(node: ir.Node, placement: Placement) -> tuple[int, ...]:
    if placement.activations is None:
        return tuple(range(len(node.inputs)))
    return placement.activations


def _reason_against(node: ir.Node, placement: Placement, quantised: Mapping[ir.Value, None]) -> str | None:
    reader = _reader(node, placement)
    inputs = [node.inputs[i] for i in reader.activations]
    if any(value is None or value.dtype != ir.DataType.FLOAT for value in inputs):
        return "does not compute on float32"
    if any(_is_constant(value) for value in inputs):
        return "adds, moves or multiplies a constant in a place of an activation"
    makers = (value.producer() for value in inputs if value is not None)
    behind = {maker.op_type for maker in makers if maker is not None} & placement.not_behind
    if behind:
        return f"reads what a {min(behind)} made, which has more shades than INT8"
    if placement.weight is not None and placement.weight.required and reader.weight is None:
        return "its weights are computed in the graph, not constants"
    if placement.carries and epilogue(node.outputs[0]) not in quantised:
        return "its result is read in float"
    return None


def _sources(readers: list[Reader], quantised: Mapping[ir.Value, None]) -> dict[str, tuple[str, ...]]:
    """Tensors joined by same-scale operators form a group; its sources are those no such operator made.

    NOTE: nor one that is moved or joined in float, which depends on what is kept in float; the sources are
    the same whatever is kept, so that ranges serve every mixture.
    """
    group: dict[ir.Value, tuple[ir.Value, ...]] = {value: (value,) for value in quantised}
    moved: set[ir.Value] = set()
    for reader in readers:
        output = reader.node.outputs[0]
        if PLACEMENTS[reader.node.op_type].same_scale and output in quantised:
            moved.add(output)
            joined = (output, *(_value(reader.node, index) for index in reader.activations))
            members = tuple(dict.fromkeys(member for value in joined for member in group[value]))
            group.update(dict.fromkeys(members, members))
    return {
        str(value.name): tuple(
            sorted({str(origin.name) for m in members if m not in moved for origin in _origins(m)})
        )
        for value, members in reversed(group.items())
    }


def _origins(value: ir.Value) -> Iterator[ir.Value]:
    """Of which tensors all values of `value` come, unchanged."""
    node = value.producer()
    placement = PLACEMENTS.get(node.op_type) if node is not None and _moves_or_joins(node) else None
    if node is None or placement is None or any(map(_is_constant, _read(node, placement))):
        yield value
        return
    for each in _read(node, placement):
        yield from _origins(each)


def _read(node: ir.Node, placement: Placement) -> list[ir.Value]:
    return [_value(node, index) for index in _activation_inputs(node, placement)]


def _made_as_integer(readers: list[Reader], quantised: Mapping[ir.Value, None]) -> frozenset[str]:
    made = (epilogue(reader.node.outputs[0]) for reader in readers)
    return frozenset(str(value.name) for value in made if value in quantised)


def _value(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    if value is None:
        raise ValueError(f"input {index} of {node.name} is absent")
    return value


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None
