"""The FP32 graph as the other modules of this package want to find it, and how a new one is written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from runtime.errors import GraphError
from runtime.files import replacing_file
from runtime.graphs import load
from runtime.opset import at_opset, readable_opset

LEAST_OPSET = 22
"""The oldest with BF16 Conv; Q/DQ and FP16 scales are older. Also the zoo's own opset."""

LEAST_IR_VERSION = 10
"""The file format that goes with opset 22."""

_LARGEST_PROTOBUF = 2_000_000_000
"""Bytes of weights from which they go to a file of their own: a protobuf message ends at 2**31."""


def open_float_graph(path: Path) -> ir.Model:
    """Load an FP32 file in one normal form, the same each time, so that tensors keep their names.

    Constants are initializers, functions are inlined, the opset is LEAST_OPSET or newer (older where
    ONNX Runtime lacks an operator there), each node has a name of its own, and each value a type. Raises
    GraphError.
    """
    model = load(path)
    if len(model.functions):
        common.InlinePass()(model)
    model = at_opset(model, max(readable_opset(model, LEAST_OPSET), model.graph.opset_imports.get("", 0)))
    model.ir_version = max(LEAST_IR_VERSION, model.ir_version or 0)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveInitializersFromInputsPass()(model)
    common.NameFixPass()(model)
    common.ShapeInferencePass()(model)
    _check_typed(model.graph, path)
    return model


def save_checked(model: ir.Model, path: Path) -> None:
    """Write `model`; it is put in place only after ONNX's checker and strict shape inference passed.

    Weights that do not fit into one file go to `<path>.data` beside it. Raises GraphError with the
    checker's first line, StoreError where the disk says no.
    """
    ir.external_data.load_to_model(model)  # their paths are relative to the FP32 file's folder
    data = f"{path.name}.data" if _weight_bytes(model) > _LARGEST_PROTOBUF else None
    with (
        replacing_file(path) as temporary,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder,
    ):
        written = Path(folder) / path.name
        ir.save(model, written, external_data=data)
        _check_file(written)
        written.replace(temporary)
        if data is not None:
            (Path(folder) / data).replace(path.parent / data)


def _check_file(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        said = str(error).strip().splitlines()[0]
        raise GraphError(f"{path.name} would not be sound ONNX: {said}; report the graph") from error


class Names:
    """Gives out names that no node or value of a graph has; the same ones each time."""

    def __init__(self, graph: ir.Graph) -> None:
        self._taken = set(_names(graph))

    def new(self, name: str) -> str:
        """`name`, or `name` with the least number that makes it new."""
        candidate, number = name, 2
        while candidate in self._taken:
            candidate, number = f"{name}_{number}", number + 1
        self._taken.add(candidate)
        return candidate


def add_initializer(graph: ir.Graph, tensor: ir.TensorProtocol) -> ir.Value:
    """Register a constant under the tensor's own name."""
    value = ir.Value(
        name=tensor.name,
        shape=ir.Shape(tensor.shape.numpy()),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def drop_unread(graph: ir.Graph, value: ir.Value | None) -> None:
    """Take an initializer that nothing reads any more out of the graph."""
    if value is not None and value.is_initializer() and not value.uses() and not value.is_graph_output():
        del graph.initializers[str(value.name)]


def add_node(graph: ir.Graph, node: ir.Node, after: ir.Value) -> None:
    """Put `node` right behind the maker of `after`, or first where `after` is an input or a constant."""
    maker = after.producer()
    if maker is not None:
        graph.insert_after(maker, node)
    elif len(graph):
        graph.insert_before(graph[0], node)
    else:
        graph.append(node)


def _names(graph: ir.Graph) -> Iterator[str]:
    yield from graph.initializers
    yield from (str(value.name) for value in graph.inputs)
    for node in ir.traversal.RecursiveGraphIterator(graph):
        yield str(node.name)
        yield from (str(value.name) for value in node.outputs)


def _weight_bytes(model: ir.Model) -> int:
    constants = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in constants if tensor is not None)


def _check_typed(graph: ir.Graph, path: Path) -> None:
    for node in graph:
        for value in node.outputs:
            if value.type is None and (value.uses() or value.is_graph_output()):
                raise GraphError(
                    f"{path}: ONNX shape inference finds no type for {value.name!r}, made by"
                    f" {node.op_type} {node.name!r}; check the file with onnx.checker"
                )
