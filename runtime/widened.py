"""A graph in BF16 where nothing has kernels for it: in float32, with each result rounded to BF16.

That is what hardware does, which multiplies BF16 and adds up in float32. ONNX's evaluator does it in NumPy,
and takes hours for a large network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from runtime.backend import Backend, Device, Session, SessionOptions
from runtime.errors import UnsupportedError
from runtime.graphs import load
from runtime.opset import readable_opset

_BF16, _FLOAT = ir.DataType.BFLOAT16, ir.DataType.FLOAT

_NAMES_A_TYPE = ("to", "dtype", "output_dtype")
"""Attributes that hold a data type: of Cast, of generators, of QuantizeLinear and DequantizeLinear."""


@dataclass(frozen=True)
class Widened:
    """A backend that opens graphs in BF16, widened, on `inner`, and refuses others."""

    inner: Backend

    @property
    def name(self) -> str:
        return f"{self.inner.name}, BF16 rounded from float32"

    def unavailable(self) -> str | None:
        return self.inner.unavailable()

    def version(self) -> str:
        return self.inner.version()

    def devices(self) -> tuple[Device, ...]:
        return self.inner.devices()

    def open(self, graph: Path, device: str, options: SessionOptions) -> Session:
        """Raises what `inner` raises, and UnsupportedError for a graph without BF16."""
        model = load(graph)
        if not widen(model):
            raise UnsupportedError(f"nothing in {graph} is BF16")
        with tempfile.TemporaryDirectory(prefix="aimatrix-widened-") as folder:
            path = Path(folder) / graph.name
            ir.save(model, path, external_data=f"{path.name}.data")
            return self.inner.open(path, device, options)


def widen(model: ir.Model) -> int:
    """Rewrite `model` in place, but not what it takes and gives; returns how many results are rounded."""
    ShapeInferencePass()(model)
    graph = model.graph
    given = [value for value in graph.inputs if value.dtype == _BF16]
    told = [
        (at, value) for at, value in enumerate(graph.outputs) if value.dtype == _BF16 and value.producer()
    ]
    rounded = sum(_widen(each) for each in [graph, *_graphs_inside(graph)])
    for value in given:
        _keep_input(graph, value)
    for at, value in told:
        _keep_output(graph, at, value)
    model.opset_imports[""] = readable_opset(model, model.opset_imports[""])  # BF16 asked for the newer one
    return rounded


def _graphs_inside(graph: ir.Graph) -> Iterator[ir.Graph]:
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield attribute.as_graph()
            elif attribute.type == ir.AttributeType.GRAPHS:
                yield from attribute.as_graphs()


def _widen(graph: ir.Graph) -> int:
    for value in graph.initializers.values():
        if value.dtype == _BF16 and value.const_value is not None:
            value.const_value = _as_float(value.const_value)
            value.dtype = _FLOAT
    for value in graph.inputs:
        if value.dtype == _BF16:
            value.dtype = _FLOAT
    made = [(node, value) for node in graph for value in node.outputs if value.dtype == _BF16]
    for node in graph:
        _widen_attributes(node)
    for node, value in made:
        value.dtype = _FLOAT
        _round(graph, node, value)
    return len(made)


def _widen_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == _BF16:
            node.attributes[name] = ir.AttrTensor(name, _as_float(attribute.as_tensor()))
        elif name in _NAMES_A_TYPE and attribute.type == ir.AttributeType.INT and attribute.value == _BF16:
            node.attributes[name] = ir.AttrInt64(name, int(_FLOAT))


def _as_float(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Whoever reads `value` reads it rounded."""
    narrow = _cast(value, _BF16, f"{value.name}_rounded")
    wide = _cast(narrow.outputs[0], _FLOAT, f"{value.name}_widened")
    ir.convenience.replace_all_uses_with(value, wide.outputs[0], replace_graph_outputs=True)
    narrow.replace_input_with(0, value)
    graph.insert_after(node, [narrow, wide])


def _keep_input(graph: ir.Graph, value: ir.Value) -> None:
    wide = _cast(value, _FLOAT, f"{value.name}_widened")
    ir.convenience.replace_all_uses_with(value, wide.outputs[0])
    wide.replace_input_with(0, value)
    value.dtype = _BF16
    graph.insert_before(graph[0], wide)


def _keep_output(graph: ir.Graph, at: int, value: ir.Value) -> None:
    """`value` was an output, and what it is called goes on to what is one now."""
    name, value.name = str(value.name), f"{value.name}_exact"
    narrow = _cast(graph.outputs[at], _BF16, name)
    graph.append(narrow)
    graph.outputs[at] = narrow.outputs[0]


def _cast(value: ir.Value, to: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], {"to": int(to)}, name=name)
    node.outputs[0].name, node.outputs[0].type = name, ir.TensorType(to)
    node.outputs[0].shape = value.shape
    return node
