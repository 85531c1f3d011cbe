"""Which tensors of a graph are INT8: the rules as data, and the plan they give for one graph.

A tensor is quantised because an operator reads it as INT8; never because of where it was made (but for
_CHEAP_IN_FLOAT). So a convolution's output stays float until after its ReLU, and nothing stands between
the two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from calibration.tables import LookUp, look_ups
from runtime.costs import MULTIPLYING
from runtime.errors import CalibrationError


def _outputs_first(node: ir.Node) -> int:
    return 0


def _outputs_second(node: ir.Node) -> int:
    return 1


def _outputs_last(node: ir.Node) -> int:
    return len(_shape(node, 1)) - 1


def _outputs_of_gemm(node: ir.Node) -> int:
    return 0 if node.attributes.get_int("transB", 0) else 1


@dataclass(frozen=True)
class Weight:
    """An input that must be a constant; `channel_axis` says which of its axes are output channels."""

    channel_axis: Callable[[ir.Node], int]
    index: int = 1
    required: bool = True


@dataclass(frozen=True)
class Placement:
    """How an operator type takes part in an INT8 graph.

    activations: inputs read as INT8; None means all of them.
    weight:      the input quantised per output channel where it is a constant.
    carries:     True for an operator that is INT8 only where its result is read as INT8: it does
                 little arithmetic, so making it INT8 pays only if it keeps the data in INT8.
    same_scale:  the output is made of values of the inputs, so both sides share one scale.
    not_behind:  operators whose results it does not read as INT8; it stays in float then.
    """

    activations: tuple[int, ...] | None = (0,)
    weight: Weight | None = None
    carries: bool = False
    same_scale: bool = False
    not_behind: frozenset[str] = frozenset()


_CHEAP_IN_FLOAT = frozenset({"AveragePool", "BatchNormalization", "Concat", "MaxPool"})
"""What DenseNet has behind its convolutions, and in front of the ReLU whose result is read as INT8."""

_MOVES_DATA = Placement(carries=True, same_scale=True)
_AVERAGES = Placement(carries=True)

PLACEMENTS: Mapping[str, Placement] = {
    "Conv": Placement(weight=Weight(_outputs_first)),
    "ConvTranspose": Placement(weight=Weight(_outputs_second)),
    "Gemm": Placement(weight=Weight(_outputs_of_gemm)),
    # Attention multiplies two activations. Of its probabilities most are below half a step of the largest:
    # BERT-Base loses 5 dB by them, for 4 % of its multiply-accumulates.
    "MatMul": Placement((0, 1), Weight(_outputs_last, required=False), not_behind=frozenset({"Softmax"})),
    # A residual sum between convolutions; a transformer's, which a LayerNorm reads, stays float.
    "Add": Placement(activations=(0, 1), carries=True),
    # The product of encoder and decoder in DSSD; without it the convolutions before it would answer in float.
    "Mul": Placement(activations=(0, 1), carries=True),
    "AveragePool": _AVERAGES,
    "GlobalAveragePool": _AVERAGES,
    "ReduceMean": _AVERAGES,
    "MaxPool": _MOVES_DATA,
    "Concat": Placement(activations=None, carries=True, same_scale=True),
    "Flatten": _MOVES_DATA,
    "Reshape": _MOVES_DATA,
    "Squeeze": _MOVES_DATA,
    "Transpose": _MOVES_DATA,
    "Unsqueeze": _MOVES_DATA,
}
"""Operator type of the standard domain to its part in an INT8 graph; a new operator is a line."""

FUSED_ACTIVATIONS = frozenset({"Relu", "Clip"})
"""What every runtime folds into the operator before it; the Q comes after."""

FLOAT_REASONS: Mapping[str, str] = {
    "LSTM": "no runtime reads a quantised LSTM from Q/DQ",
    "GRU": "no runtime reads a quantised GRU from Q/DQ",
    "RNN": "no runtime reads a quantised RNN from Q/DQ",
    "Einsum": "no runtime reads a quantised Einsum from Q/DQ",
    "Loop": "ranges are found outside of what it repeats",
    "Scan": "ranges are found outside of what it repeats",
}
"""Operators that multiply and accumulate, yet stay in float; each is named in the report."""


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
    readers.reverse()
    quantised.update(dict.fromkeys(_read_in_float(readers, quantised)))
    sources, integer = _sources(readers, quantised), _made_as_integer(readers, quantised)
    return Plan(tuple(readers), sources, integer, tuple(look_ups(graph)), tuple(reversed(skipped)))


def _multiplies(node: ir.Node) -> bool:
    """Whether an operator of FLOAT_REASONS does: one that repeats a graph only where that does."""
    body = node.attributes.get("body")
    return body is None or any(inner.op_type in MULTIPLYING for inner in body.as_graph().all_nodes())


def _read_in_float(readers: list[Reader], quantised: Mapping[ir.Value, None]) -> Iterator[ir.Value]:
    """What operators with weights hand to nothing but operators that compute little and stay in float.

    ONNX Runtime has no fast kernel that reads integers and answers in float: without it the convolutions
    would run in float, too. Each tensor keeps a scale of its own.
    """
    for reader in readers:
        made = epilogue(reader.node.outputs[0])
        cheap = made.uses() and all(use.node.op_type in _CHEAP_IN_FLOAT for use in made.uses())
        if reader.weight is not None and cheap and made not in quantised and not made.is_graph_output():
            yield made


def nothing_to_quantise(path: Path, graph: ir.Graph) -> CalibrationError:
    """The error for a graph whose plan has no readers."""
    found = ", ".join(sorted({node.op_type for node in graph})) or "no operator at all"
    return CalibrationError(
        f"{path} has nothing to quantise: INT8 needs a Conv, Gemm or MatMul on float32 with constant"
        f" weights, and the graph holds {found}; use fp32, fp16 or bf16"
    )


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
    """Tensors joined by same-scale operators form a group; its sources are those no such operator made."""
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
        str(value.name): tuple(sorted(str(m.name) for m in members if m not in moved))
        for value, members in reversed(group.items())
    }


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


def _shape(node: ir.Node, index: int) -> tuple[int | ir.SymbolicDim, ...]:
    return tuple(_value(node, index).shape or ())
