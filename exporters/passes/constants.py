"""Compute once, here, what needs no input."""

from __future__ import annotations

import sys

import onnx_ir as ir
from onnx_ir.passes import common

OUTPUT_LIMIT = 1 << 16
"""Elements a folded value may have beyond what its inputs had, so that no broadcast swells the file."""

_FOLDED_OTHERWISE = frozenset(
    {"Cast", "CastLike", "ConcatFromSequence", "Dropout", "Expand", "Identity", "If", "Reshape"}
    | {"SequenceAt", "SequenceConstruct", "Shape", "Size", "SplitToSequence"}
)
"""Operators that onnxscript may fold or see through without all inputs being constant; Concat is another."""


def fold_constants(model: ir.Model) -> None:
    """Fold whatever hangs on initializers alone, whatever its size: kernels are transposed here.

    Shape arithmetic is followed too, so that a Reshape to a computed shape gets a constant one.
    A weight that is only rearranged keeps its name.
    """
    lift = common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)
    lift(model)
    if not model.functions and not any(_may_fold(node) for node in model.graph.all_nodes()):
        return
    from onnxscript import optimizer  # here, since it takes longer to import than most networks to convert

    origins = _origins(model)
    optimizer.fold_constants(
        model, onnx_shape_inference=True, input_size_limit=sys.maxsize, output_size_limit=OUTPUT_LIMIT
    )
    lift(model)
    for name, value in tuple(model.graph.initializers.items()):
        origin = origins.get(name)
        if origin and origin not in model.graph.initializers and not value.is_graph_output():
            value.name = origin


def _may_fold(node: ir.Node) -> bool:
    """Whether there may be something to fold; most Caffe networks have nothing."""
    if node.op_type == "Concat" and not _joins_several(node):
        return True
    inputs = [value for value in node.inputs if value is not None]
    return node.op_type in _FOLDED_OTHERWISE or all(value.const_value is not None for value in inputs)


def _joins_several(concat: ir.Node) -> bool:
    """Whether a Concat has more than one input, and none that is, or may turn out, empty."""
    axis = concat.attributes.get("axis")
    shapes = [None if value is None else value.shape for value in concat.inputs]
    if axis is None or len(shapes) < 2:
        return False
    sizes = [None if shape is None else dict(enumerate(shape)).get(axis.as_int()) for shape in shapes]
    return all(isinstance(size, int) and size > 0 for size in sizes)


def _origins(model: ir.Model) -> dict[str, str]:
    """Name of each value made from one weight and nothing else of size, to that weight's name."""
    origins: dict[str, str] = {}
    for node in model.graph:
        arrays = {value.name: _weight_name(value, origins) for value in node.inputs if value is not None}
        weights = {name for name in arrays.values() if name}
        if None not in arrays.values() and len(weights) == 1:
            origins.update({str(output.name): weights.copy().pop() for output in node.outputs})
    return origins


def _weight_name(value: ir.Value, origins: dict[str, str]) -> str | None:
    """The weight behind a value, "" for a scalar or whole numbers, None for what is not constant."""
    if value.name in origins:
        return origins[value.name]
    tensor = value.const_value
    if tensor is None or value.is_graph_input():
        return None
    return str(value.name) if tensor.size > 1 and tensor.dtype.is_floating_point() else ""
