"""A Caffe network as an ONNX model: every layer through its handler, then the names that the user knows."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder, Parts
from exporters.caffe.layers import LAYERS, MANY, PYTHON_LAYERS, SUPPORTED, Handler, LayerType
from exporters.caffe.names import unique
from exporters.source import ZOO_IR_VERSION, ZOO_OPSET
from runtime.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from exporters.caffe.network import Layer, Network

NO_PYTHON_LAYERS: Mapping[str, Handler] = MappingProxyType({})

_FOR_TRAINING = "it is for training: give the deploy.prototxt, or"
_ADVICE = MappingProxyType(
    {
        "SoftmaxWithLoss": f"{_FOR_TRAINING} put a Softmax layer in its place",
        "SigmoidCrossEntropyLoss": f"{_FOR_TRAINING} put a Sigmoid layer in its place",
        "Loss": f"{_FOR_TRAINING} take it out",
        "Accuracy": f"{_FOR_TRAINING} take it out",
        "Evaluate": f"{_FOR_TRAINING} take it out",
        "Data": f"{_FOR_TRAINING} put an Input layer in its place",
        "HDF5Output": "it writes to a file: take it out, and the blobs that it reads are outputs",
        "DetectionOutput": "take it out, and the blobs that it reads are outputs",
    }
)
"""How a type's name ends, special names first, to what to do about it."""


def to_onnx(network: Network, python_layers: Mapping[str, Handler] = NO_PYTHON_LAYERS) -> ir.Model:
    """The network at opset ZOO_OPSET with its blobs as initializers (not copied).

    python_layers: how the user's Python layers are said in ONNX, by class name, with or without its module.
    Raises ExportError naming the layer that cannot be said in ONNX.
    """
    inputs = {blob.name: _graph_input(blob.name, blob.dims) for blob in network.inputs}
    tops = {top for layer in network.layers for top in layer.tops}
    parts = Parts(value_names=set(inputs) | tops)
    read_once = _read_once(network)
    values = dict(inputs)
    for layer in network.layers:
        kind = _layer_type(layer, python_layers)
        made = _convert(kind, layer, LayerBuilder(layer, parts, read_once), values)
        values.update(zip(layer.tops, made, strict=True))
        _name_node(layer, parts)
        parts.blobs_of.update(made)
    outputs = _name_values(network, values, parts)
    graph = ir.Graph(
        list(inputs.values()),
        outputs,
        nodes=parts.nodes,
        initializers=[value for value in parts.initializers if value.uses()],
        opset_imports={"": ZOO_OPSET},
        name=network.name or "caffe",
    )
    return ir.Model(graph, ir_version=ZOO_IR_VERSION, producer_name="aimatrix")


def _convert(
    kind: LayerType, layer: Layer, build: LayerBuilder, values: dict[str, ir.Value]
) -> Sequence[ir.Value]:
    least, most = kind.bottoms
    if not least <= len(layer.bottoms) <= most:
        raise build.error(f"has {len(layer.bottoms)} bottoms, can take {kind.bottoms_text}")
    absurd = next(_not_finite(layer.parameter), None)
    if absurd is not None:
        raise build.error(f"{absurd} is infinite or not a number")
    made = kind.convert(build, [values[bottom] for bottom in layer.bottoms])
    if len(made) != len(layer.tops):
        raise build.error(f"has {len(layer.tops)} tops, {len(made)} can be exported")
    return made


def _not_finite(message: Message) -> Iterator[str]:
    """Names of a layer's parameters that are NaN or infinite; blobs are looked at where they are read."""
    for field, value in message.ListFields():
        if field.message_type is None and field.cpp_type == field.CPPTYPE_FLOAT:
            numbers = value if isinstance(value, Iterable) else (value,)
            if not all(math.isfinite(number) for number in numbers):
                yield field.name
        elif field.message_type is not None and field.name != "blobs":
            for part in value if isinstance(value, Sequence) else (value,):
                yield from _not_finite(part)


def _name_node(layer: Layer, parts: Parts) -> None:
    """A layer that is one node gives it its name."""
    if len(parts.nodes) == parts.named + 1:
        parts.nodes[-1].name = unique(layer.name, parts.node_names)
    parts.named = len(parts.nodes)


def _layer_type(layer: Layer, python_layers: Mapping[str, Handler]) -> LayerType:
    if layer.type == "Python":
        return _python_layer(layer, python_layers)
    try:
        return LAYERS[layer.type]
    except KeyError:
        raise ExportError(
            f"{layer} has a type that cannot be exported; {_advice(layer)}; supported: {', '.join(SUPPORTED)}"
        ) from None


def _python_layer(layer: Layer, python_layers: Mapping[str, Handler]) -> LayerType:
    parameter = layer.parameter.python_param
    full_name = f"{parameter.module}.{parameter.layer}"
    for name in (full_name, parameter.layer):
        if name in python_layers:
            return LayerType(python_layers[name], bottoms=(0, MANY))
    if full_name in PYTHON_LAYERS:
        return PYTHON_LAYERS[full_name]
    raise ExportError(
        f"{layer} runs {full_name}, code that no prototxt holds; map it to a function that makes its ONNX"
        f" nodes (--python-layer module:function); known: {', '.join(PYTHON_LAYERS)}"
    )


def _advice(layer: Layer) -> str:
    known = next((advice for ending, advice in _ADVICE.items() if layer.type.endswith(ending)), None)
    if known is not None:
        return known
    near = difflib.get_close_matches(layer.type, SUPPORTED, n=1)
    return (
        f"did you mean {near[0]}?" if near else "take the layer out, or say it with layers that are supported"
    )


def _graph_input(name: str, shape: Sequence[int | str]) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def _read_once(network: Network) -> frozenset[str]:
    """Blobs that exactly one layer reads and the user does not."""
    reads = Counter(bottom for layer in network.layers for bottom in layer.bottoms)
    reads.update(network.outputs)
    return frozenset(name for name, times in reads.items() if times == 1)


def _name_values(network: Network, values: dict[str, ir.Value], parts: Parts) -> list[ir.Value]:
    """Give values their blobs' names, the outputs first; the graph's outputs.

    Several blobs can be one value (after a Split or a Dropout): it has the first name; outputs are copied,
    and so are those that no node makes (prior boxes).
    """
    named = {values[blob.name] for blob in network.inputs}
    outputs = []
    for top in network.outputs:
        shared = values[top] in named or values[top].producer() is None
        value = _copy(values[top], parts) if shared else values[top]
        value.name = top
        named |= {value, values[top]}
        outputs.append(value)
    for top, value in values.items():
        if value not in named:
            value.name = top
            named.add(value)
    return outputs


def _copy(value: ir.Value, parts: Parts) -> ir.Value:
    name = unique(f"{value.name}/Identity", parts.node_names)
    copied = ir.Value(shape=value.shape, type=value.type)
    parts.nodes.append(ir.node("Identity", [value], outputs=[copied], name=name))
    return copied
