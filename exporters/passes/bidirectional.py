"""Two LSTMs that read one sequence from either end, as one operator that reads it both ways."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from exporters.passes.graph import bypass, constant, make_node, only_reader, produced_by, set_constant
from runtime.tensors import Array

_PARTS = ("W", "R", "B")


def fuse_bidirectional(model: ir.Model) -> None:
    """Join a forward LSTM and one between two reversals of time, where their outputs are concatenated.

    Time is reversed by a Gather of its steps, last to first. The states start from zero, and nobody reads
    either of the two apart.
    """
    for node in tuple(model.graph.all_nodes()):
        if node.op_type == "Concat" and len(node.inputs) == 2 and node.attributes["axis"].as_int() in (2, -1):
            ahead = _lstm_before(node.inputs[0])
            back = _lstm_before(_before_reversal(node.inputs[1]))
            if ahead is not None and back is not None and _read_alike(ahead, back):
                _join(node, ahead, back)


def _lstm_before(value: ir.Value | None) -> ir.Node | None:
    """The LSTM whose only direction `value` [time, batch, units] is, if nothing else reads it."""
    squeeze = _unshared(value, "Squeeze")
    axes = None if squeeze is None else constant(squeeze.inputs[1])
    lstm = None if squeeze is None or axes is None or axes.tolist() != [1] else squeeze.inputs[0]
    node = _unshared(lstm, "LSTM")
    return node if node is not None and _is_simple(node) else None


def _is_simple(lstm: ir.Node) -> bool:
    """Forward, from zero states, with nothing but its size said about it."""
    given = [value for value in lstm.inputs if value is not None]
    others = lstm.outputs[1:]
    return (
        len(given) == 1 + len(_PARTS)
        and all(constant(value) is not None for value in given[1:])
        and set(lstm.attributes) <= {"hidden_size"}
        and not any(value.uses() or value.is_graph_output() for value in others)
    )


def _read_alike(ahead: ir.Node, back: ir.Node) -> bool:
    return (
        ahead.inputs[0] is _before_reversal(back.inputs[0])
        and ahead.attributes["hidden_size"].as_int() == back.attributes["hidden_size"].as_int()
    )


def _before_reversal(value: ir.Value | None) -> ir.Value | None:
    """What `value` is with its first axis reversed, if nothing else reads it."""
    gather = _unshared(value, "Gather")
    if gather is None or ("axis" in gather.attributes and gather.attributes["axis"].as_int() != 0):
        return None
    source, steps = gather.inputs[0], constant(gather.inputs[1])
    size = None if source is None or source.shape is None else source.shape[0]
    return source if steps is not None and _is_reversal(steps, size) else None


def _is_reversal(steps: Array, size: object) -> bool:
    return steps.shape == (size,) and np.array_equal(steps % len(steps), np.arange(len(steps))[::-1])


def _unshared(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The `op_type` that makes `value`, which one node reads."""
    node = produced_by(value, op_type)
    return node if value is not None and only_reader(value) is not None else None


def _join(concat: ir.Node, ahead: ir.Node, back: ir.Node) -> None:
    units = ahead.attributes["hidden_size"].as_int()
    attributes = {"hidden_size": units, "direction": "bidirectional"}
    lstm = make_node(concat, "LSTM", [ahead.inputs[0]], attributes, f"{concat.name}/LSTM")
    for index, role in enumerate(_PARTS, start=1):
        parts = [part for node in (ahead, back) if (part := constant(node.inputs[index])) is not None]
        set_constant(lstm, index, role, np.concatenate(parts))
    # [time, direction, batch, units] to [time, batch, both]
    moved = make_node(concat, "Transpose", lstm.outputs, {"perm": (0, 2, 1, 3)}, f"{concat.name}/transposed")
    both = make_node(concat, "Reshape", moved.outputs, {}, f"{concat.name}/both")
    set_constant(both, 1, "shape", np.array([0, 0, 2 * units], np.int64))
    both.outputs[0].shape, both.outputs[0].type = concat.outputs[0].shape, concat.outputs[0].type
    bypass(concat, both.outputs[0])
