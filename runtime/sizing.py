"""A graph with every open dimension given a number."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes import common

Dims = tuple[int, ...]

_LOOPS_OWN = 2
"""The first inputs of a Loop, and of its body: how often at most or by now, and whether to go on."""


class UnknownSizeError(Exception):
    """Shape inference could not tell the shape of a tensor."""


def with_sizes(model: ir.Model, dims: Mapping[str, int]) -> ir.Model:
    """A copy of `model` whose values have the shapes that ONNX infers for inputs of these sizes.

    dims: values of the open dimensions by name; one that is not given counts as 1. What a suppression
    of boxes keeps counts as the most that it may; what a loop carries keeps its size. Tensors are shared.
    """
    sized = model.clone()
    _fix_dims(sized.graph, dims)
    common.ShapeInferencePass()(sized)
    while sum(_tell_more(node) for node in tuple(sized.graph)):
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


def _tell_more(node: ir.Node) -> bool:
    """Write what inference does not find out about a node; whether that was anything new."""
    if node.op_type == "NonMaxSuppression":
        return _bound(node)
    return node.op_type == "Loop" and _enter(node)


def _enter(loop: ir.Node) -> bool:
    """Give what a loop's body carries the shape it comes in with; whether it had none before."""
    inner = loop.attributes["body"].as_graph().inputs[_LOOPS_OWN:]
    told = False
    for outer, value in zip(loop.inputs[_LOOPS_OWN:], inner, strict=True):
        if outer is not None and _is_known(outer) and not _is_known(value):
            value.shape, told = outer.shape, True
    return told


def _is_known(value: ir.Value) -> bool:
    return value.shape is not None and all(isinstance(size, int) for size in value.shape)


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
