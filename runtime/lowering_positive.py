"""Says in uint8 what a canonical INT8 graph quantises behind a ReLU: OpenVINO computes that faster than int8.

Its kernels multiply uint8 with int8, and shift an int8 activation there and back: ResNet50 takes a tenth
longer. Behind a ReLU nothing is negative, so that int8 with zero point 0 holds 0 to 127: uint8 holds the same
numbers, and the ReLU becomes a Clip that ends where 127 does, since uint8 would go on to 255. With
optimisations off, the result computes bit for bit what the canonical graph does.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import onnx_ir as ir

from runtime.lowering import constant_scalar, is_canonical
from runtime.tensors import Array

POSITIVE = "int8 behind a ReLU as uint8 with zero point 0, the ReLU as a clip at 127"

_GREATEST = np.float32(127)


_MOVES = frozenset({"Concat", "Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators whose results are some of the values that they read first, or with Concat anywhere."""


def store_positive_as_uint8(model: ir.Model) -> int:
    """Rewrite `model` in place; returns how many quantised tensors it changed."""
    graph = model.graph
    found = [node for node in graph if is_canonical(node)]
    zero_point = _constant(graph, "positive_zero_point", np.array(0, np.uint8))
    changed: set[ir.Node] = set()
    for quantise in found:
        relu, bound = _relu(quantise), _bound(quantise)
        if relu is not None and bound is not None:
            _clip(graph, relu, quantise, bound)
        elif not _only_moves(quantise, changed):
            continue
        quantise.replace_input_with(2, zero_point)
        quantise.outputs[0].dtype = ir.DataType.UINT8
        for use in quantise.outputs[0].uses():
            use.node.replace_input_with(2, zero_point)
        changed.add(quantise)
    if not changed:
        del graph.initializers[str(zero_point.name)]
    return len(changed)


def _only_moves(quantise: ir.Node, changed: Set[ir.Node]) -> bool:
    """Whether all it quantises was in uint8 before, in steps of the same size: then it is at most 127."""
    value = quantise.inputs[0]
    mover = value.producer() if value is not None else None
    if mover is None or mover.op_type not in _MOVES or mover.domain:
        return False
    scale = constant_scalar(quantise.inputs[1])
    read = mover.inputs if mover.op_type == "Concat" else mover.inputs[:1]
    return scale is not None and all(_was_stored(each, scale, changed) for each in read)


def _was_stored(value: ir.Value | None, scale: np.float32, changed: Set[ir.Node]) -> bool:
    restore = value.producer() if value is not None else None
    if restore is None or restore.op_type != "DequantizeLinear":
        return False
    stored = restore.inputs[0]
    return stored is not None and stored.producer() in changed and constant_scalar(restore.inputs[1]) == scale


def _relu(quantise: ir.Node) -> ir.Node | None:
    """The ReLU that nothing but Q reads."""
    value = quantise.inputs[0]
    maker = value.producer() if value is not None else None
    if value is None or maker is None or maker.op_type != "Relu" or maker.domain:
        return None
    return maker if len(value.uses()) == 1 and not value.is_graph_output() else None


def _bound(quantise: ir.Node) -> np.float32 | None:
    """Where 127 ends, if quantising that gives 127."""
    scale = constant_scalar(quantise.inputs[1])
    if scale is None or not 0 < scale < np.inf:
        return None
    bound = np.float32(_GREATEST * scale)
    return bound if np.isfinite(bound) and np.rint(bound / scale) == _GREATEST else None


def _clip(graph: ir.Graph, relu: ir.Node, quantise: ir.Node, bound: np.float32) -> None:
    least = _constant(graph, f"{relu.name}_least", np.zeros((), np.float32))
    greatest = _constant(graph, f"{relu.name}_greatest", np.array(bound))
    clip = ir.node("Clip", [relu.inputs[0], least, greatest], name=f"{relu.name}_clip")
    made = clip.outputs[0]
    made.name, made.type, made.shape = (
        f"{relu.outputs[0].name}_clipped",
        relu.outputs[0].type,
        relu.outputs[0].shape,
    )
    graph.insert_before(quantise, clip)
    quantise.replace_input_with(0, made)
    graph.remove(relu, safe=True)


def _constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """A new constant, called `name` or something longer."""
    while name in graph.initializers:
        name += "_"
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value
