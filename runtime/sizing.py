"""A graph with every open dimension given a number."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes import common

Dims = tuple[int, ...]


class UnknownSizeError(Exception):
    """Shape inference could not tell the shape of a tensor."""


def with_sizes(model: ir.Model, dims: Mapping[str, int]) -> ir.Model:
    """A copy of `model` whose values have the shapes that ONNX infers for inputs of these sizes.

    dims: values of the open dimensions by name; one that is not given counts as 1. What a suppression
    of boxes keeps counts as the most that it may. Tensors are shared.
    """
    sized = model.clone()
    _fix_dims(sized.graph, dims)
    common.ShapeInferencePass()(sized)
    while sum(_bound(node) for node in sized.graph if node.op_type == "NonMaxSuppression"):
        common.ShapeInferencePass()(sized)
    return sized


def size_of(value: ir.Value | None) -> Dims:
    """The shape of a value in numbers; raises UnknownSizeError."""
    if value is None or value.shape is None or not all(isinstance(size, int) for size in value.shape):
        raise UnknownSizeError
    return tuple(int(size) for size in value.shape)  # type: ignore[arg-type]  # all are whole numbers


def _fix_dims(graph: ir.Graph, dims: Mapping[str, int]) -> None:
    """Write the given sizes into the inputs; forget the rest, which inference then tells anew."""
    for value in graph.inputs:
        if value.shape is not None and value.name not in graph.initializers:
            sizes = (size if isinstance(size, int) else dims.get(size.value or "", 1) for size in value.shape)
            value.shape = ir.Shape(sizes)
    for node in graph:
        for output in node.outputs:
            output.shape = None


def _bound(node: ir.Node) -> bool:
    """Give a suppression's output the most rows it may have; whether it had no such number."""
    (kept,) = node.outputs
    scores, most = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    known = kept.shape is not None and isinstance(kept.shape[0], int)
    if known or scores is None or most is None or most.const_value is None:
        return False
    try:
        batch, classes, boxes = size_of(scores)
    except UnknownSizeError:
        return False
    rows = batch * classes * min(boxes, int(most.const_value.numpy().item()))
    kept.shape = ir.Shape([rows, 3])
    return True
