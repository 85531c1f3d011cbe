"""Two recurrent operators that read one sequence from either end, as one operator that reads it both ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporters.passes.graph import (
    attribute_ints,
    bypass,
    constant,
    graph_of,
    make_node,
    only_reader,
    produced_by,
    set_constant,
)
from exporters.passes.no_ops import TO_THE_END, remove_no_ops
from exporters.passes.transposes import cancel_transposes
from runtime.tensors import Array

_RECURRENT = ("LSTM", "GRU", "RNN")
_PARTS = ("W", "R", "B")
_X, _LENGTHS, _FIRST_STATES = 0, 4, slice(5, None)

_DIRECTIONS = (1, 0, 0)
"""Which axis of Y, and of the last states Y_h and Y_c, has the directions."""

_SWAPPED = (1, 0, 2)
"""From time first to batch first and back."""


@dataclass(frozen=True)
class _Half:
    """One direction of what is concatenated.

    output:      which of the operator's is read.
    source:      the sequence, in the order of time.
    reverse:     whether it is read from its end.
    batch_first: whether the output is transposed before it is concatenated.
    """

    node: ir.Node
    output: int
    source: ir.Value | None
    reverse: bool
    batch_first: bool


def fuse_bidirectional(model: ir.Model) -> None:
    """Join operators that read forwards and backwards, where the outputs or the last states are concatenated.

    Backwards is either the operator's own direction, or forwards between two reversals of time. The states
    start from zero, and nobody reads either of the two apart.
    """
    _cancel_reversals(model)
    joined = False
    for node in tuple(model.graph.all_nodes()):
        if node.op_type == "Concat" and len(node.inputs) == 2:
            ahead, back = (_half_before(value) for value in node.inputs)
            if ahead is not None and back is not None and _fit(node, ahead, back):
                _join(node, ahead, back)
                joined = True
    if joined:  # between the layers of a stack
        cancel_transposes(model)
        remove_no_ops(model)


def _cancel_reversals(model: ir.Model) -> None:
    for node in tuple(model.graph.all_nodes()):
        inner = produced_by(node.inputs[0], "Slice") if node.op_type == "Slice" else None
        source = None if inner is None else inner.inputs[0]
        if inner is None or source is None or not _reversed_axes(node):
            continue
        cancels = _reversed_axes(inner) == _reversed_axes(node) and bypass(node, source)
        if cancels and not inner.outputs[0].uses():
            graph_of(inner).remove(inner, safe=True)


def _half_before(value: ir.Value | None) -> _Half | None:
    """The half that `value` is, if nothing else reads what lies between."""
    in_time = _before_reversal(value)
    transpose = _unshared(in_time or value, "Transpose")
    if transpose is not None and attribute_ints(transpose, "perm") != _SWAPPED:
        return None
    squeeze = _unshared(in_time or value if transpose is None else transpose.inputs[0], "Squeeze")
    read = None if squeeze is None else squeeze.inputs[0]
    node = None if read is None or only_reader(read) is None else read.producer()
    if squeeze is None or read is None or node is None or not _is_simple(node, read):
        return None
    output, axes = node.outputs.index(read), constant(squeeze.inputs[1])
    if axes is None or axes.tolist() != [_DIRECTIONS[output]]:
        return None
    source, reverse = node.inputs[_X], _direction(node) == "reverse"
    if in_time is not None:
        source, reverse = _before_reversal(source), not reverse
        if output or _lengths(node):
            return None
    return _Half(node, output, source, reverse, transpose is not None)


def _is_simple(node: ir.Node, read: ir.Value) -> bool:
    """One direction of constant weights, from zero states, with one output read."""
    return (
        node.op_type in _RECURRENT
        and _direction(node) != "bidirectional"
        and not any(node.inputs[_FIRST_STATES])
        and all(value is None or constant(value) is not None for value in node.inputs[1:_LENGTHS])
        and not any(value.uses() or value.is_graph_output() for value in node.outputs if value is not read)
    )


def _fit(concat: ir.Node, ahead: _Half, back: _Half) -> bool:
    return (
        concat.attributes["axis"].as_int() in ((-1, 1) if ahead.output else (-1, 2))
        and (ahead.reverse, back.reverse) == (False, True)
        and (ahead.output, ahead.batch_first) == (back.output, back.batch_first)
        and ahead.source is not None
        and ahead.source is back.source
        and _settings(ahead.node) == _settings(back.node)
    )


def _settings(node: ir.Node) -> object:
    """What two operators must have in common to be the halves of one."""
    attributes = {name: attribute.value for name, attribute in node.attributes.items() if name != "direction"}
    return node.op_type, attributes, _lengths(node), [value is None for value in node.inputs[1:_LENGTHS]]


def _lengths(node: ir.Node) -> ir.Value | None:
    return node.inputs[_LENGTHS] if len(node.inputs) > _LENGTHS else None


def _direction(node: ir.Node) -> str:
    return node.attributes["direction"].as_string() if "direction" in node.attributes else "forward"


def _before_reversal(value: ir.Value | None) -> ir.Value | None:
    """What `value` is with its first axis reversed, if nothing else reads it."""
    node = None if value is None or only_reader(value) is None else value.producer()
    if node is None or node.op_type not in ("Gather", "Slice"):
        return None
    return node.inputs[0] if _reversed_axes(node) == (0,) else None


def _reversed_axes(node: ir.Node) -> tuple[int, ...]:
    """The axes along which a Slice or a Gather gives all there is, last to first."""
    source = node.inputs[0] if node.inputs else None
    if node.op_type == "Slice":
        starts, ends, axes, steps = (constant(value) for value in (*node.inputs[1:], *[None] * 4)[:4])
        if starts is None or ends is None or axes is None or steps is None:
            return ()
        whole = bool((starts == -1).all() and (ends <= -TO_THE_END).all() and (steps == -1).all())
        return tuple(axes.tolist()) if whole else ()
    if node.op_type != "Gather" or source is None or source.shape is None:
        return ()
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    steps = constant(node.inputs[1])
    size = dict(enumerate(source.shape)).get(axis)
    return (axis,) if steps is not None and _is_reversal(steps, size) else ()


def _is_reversal(steps: Array, size: object) -> bool:
    return steps.shape == (size,) and np.array_equal(steps % len(steps), np.arange(len(steps))[::-1])


def _unshared(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The `op_type` that makes `value`, which one node reads."""
    node = produced_by(value, op_type)
    return node if value is not None and only_reader(value) is not None else None


def _join(concat: ir.Node, ahead: _Half, back: _Half) -> None:
    node = _both_ways(concat, ahead, back)
    units, read = node.attributes["hidden_size"].as_int(), node.outputs[ahead.output]
    # [time, direction, batch, units] to [time, batch, both], or [direction, batch, units] to [batch, both]
    order, sizes = ((1, 0, 2), [0]) if ahead.output else ((0, 2, 1, 3), [0, 0])
    moved = make_node(concat, "Transpose", [read], {"perm": order}, f"{concat.name}/transposed")
    both = make_node(concat, "Reshape", moved.outputs, {}, f"{concat.name}/both")
    set_constant(both, 1, "shape", np.array([*sizes, 2 * units], np.int64))
    if ahead.batch_first:
        both = make_node(concat, "Transpose", both.outputs, {"perm": _SWAPPED}, f"{concat.name}/batch_first")
    both.outputs[0].shape, both.outputs[0].type = concat.outputs[0].shape, concat.outputs[0].type
    bypass(concat, both.outputs[0])


def _both_ways(concat: ir.Node, ahead: _Half, back: _Half) -> ir.Node:
    first = ahead.node
    attributes: dict[str, object] = {**first.attributes, "direction": "bidirectional"}
    for name, attribute in first.attributes.items():
        if name.startswith("activation"):  # once for each direction
            attributes[name] = [*attribute.value, *attribute.value]
    node = ir.node(
        first.op_type,
        [ahead.source],
        attributes=attributes,  # type: ignore[arg-type]
        num_outputs=ahead.output + 1,
        name=f"{concat.name}/{first.op_type}",
    )
    graph_of(concat).insert_before(concat, node)
    for index, role in enumerate(_PARTS, start=1):
        parts = [part for half in (ahead, back) if (part := constant(half.node.inputs[index])) is not None]
        if parts:
            set_constant(node, index, role, np.concatenate(parts))
    lengths = _lengths(first)
    if lengths is not None:
        node.resize_inputs(_LENGTHS + 1)
        node.replace_input_with(_LENGTHS, lengths)
    node.outputs[ahead.output].name = node.name
    return node
