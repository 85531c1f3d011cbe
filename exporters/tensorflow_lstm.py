"""TensorFlow's LSTM over whole sequences, its operator BlockLSTM, as ONNX's LSTM.

tf2onnx 1.17 does not know the operator, and finds an LSTM in a loop of cells only where it sees the weights,
which never pass through it. The kernel is [inputs + units, 4 units], as in the LSTMCell of TensorFlow 1: its
columns are input, cell, forget and output gate; `forget_bias` is added to the third when it runs.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from exporters.passes.graph import constant, graph_of, make_node, produced_by, set_constant
from runtime.tensors import Array

_LENGTH, _X, _CELL, _STATE, _KERNEL, _BIAS = 0, 1, 2, 3, 4, 8
_HIDDEN = 6
"""Which of the seven outputs is the layer's own: the others are for training."""

_ONNX_ORDER = (0, 3, 2, 1)
"""Input, output, forget, cell."""


def write_lstms(model: ir.Model) -> None:
    """Replace every BlockLSTM that ONNX's LSTM can say: whole sequences, no peepholes, no clipped cells.

    What it cannot say stays, to be refused by name.
    """
    for node in tuple(model.graph.all_nodes()):
        if node.op_type == "BlockLSTM":
            # not strict: there is no such operator in ONNX, and the shapes before it are all that is wanted
            common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
            _replace(node)


def _replace(node: ir.Node) -> None:
    kernel, bias = constant(node.inputs[_KERNEL]), constant(node.inputs[_BIAS])
    if kernel is None or bias is None or not _is_plain(node):
        return
    units = bias.size // 4
    forget = np.array([0, 0, node.attributes["forget_bias"].as_float(), 0], bias.dtype)
    biases = [bias + np.repeat(forget, units), np.zeros_like(bias)]
    lstm = make_node(node, "LSTM", [node.inputs[_X]], {"hidden_size": units}, str(node.name))
    set_constant(lstm, 1, "W", _gates(kernel[:-units].T))
    set_constant(lstm, 2, "R", _gates(kernel[-units:].T))
    set_constant(lstm, 3, "B", np.concatenate([_gates(part) for part in biases], axis=1))
    _start_from(lstm, node)
    hidden = make_node(node, "Squeeze", lstm.outputs, {}, f"{node.name}/squeeze")
    set_constant(hidden, 1, "axes", np.array([1], np.int64))
    node.outputs[_HIDDEN].replace_all_uses_with(hidden.outputs[0])
    graph_of(node).remove(node, safe=True)


def _is_plain(node: ir.Node) -> bool:
    used = {index for index, value in enumerate(node.outputs) if value.uses() or value.is_graph_output()}
    x, length = node.inputs[_X], constant(node.inputs[_LENGTH])
    steps = None if x is None or x.shape is None else x.shape[0]
    return (
        used == {_HIDDEN}
        and not node.outputs[_HIDDEN].is_graph_output()
        and not node.attributes["use_peephole"].as_int()
        and node.attributes["cell_clip"].as_float() <= 0
        and length is not None
        and int(length) == steps
    )


def _gates(rows: Array) -> Array:
    """[1, 4 units, ...] with the gates in ONNX's order, of [4 units, ...] in TensorFlow's."""
    return np.concatenate([np.split(rows, 4)[gate] for gate in _ONNX_ORDER])[np.newaxis]


def _start_from(lstm: ir.Node, node: ir.Node) -> None:
    """Give the LSTM its first states, unless they are ONNX's own: zero."""
    states = [node.inputs[_STATE], node.inputs[_CELL]]
    if all(map(_is_zero, states)):
        return
    lstm.resize_inputs(7)
    for index, value in enumerate(states):
        state = make_node(lstm, "Unsqueeze", [value], {}, f"{lstm.name}/state_{index}")
        set_constant(state, 1, "axes", np.array([0], np.int64))
        lstm.replace_input_with(5 + index, state.outputs[0])


def _is_zero(value: ir.Value | None) -> bool:
    """Whether it is zero at any batch size: a constant, or one that is expanded."""
    expand = produced_by(value, "Expand")
    array = constant(value if expand is None else expand.inputs[0])
    return array is not None and not array.any()
