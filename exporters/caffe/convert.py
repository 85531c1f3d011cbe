"""A Caffe network as an ONNX model: every layer through its handler, then the names that the user knows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder, Parts
from exporters.caffe.layers import LAYERS, SUPPORTED, LayerType
from exporters.caffe.names import unique
from exporters.source import ZOO_IR_VERSION, ZOO_OPSET
from runtime.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporters.caffe.network import Layer, Network

_TRAINING = ("Data", "Loss", "Accuracy", "SoftmaxWithLoss")


def to_onnx(network: Network) -> ir.Model:
    """The network at opset ZOO_OPSET with its blobs as initializers (not copied).

    Raises ExportError naming the layer that cannot be said in ONNX.
    """
    inputs = {blob.name: _graph_input(blob.name, blob.dims) for blob in network.inputs}
    tops = {top for layer in network.layers for top in layer.tops}
    parts = Parts(value_names=set(inputs) | tops)
    read_once = _read_once(network)
    values = dict(inputs)
    for layer in network.layers:
        made = _convert(layer, LayerBuilder(layer, parts, read_once), values, parts)
        values.update(zip(layer.tops, made, strict=True))
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
    layer: Layer, build: LayerBuilder, values: dict[str, ir.Value], parts: Parts
) -> Sequence[ir.Value]:
    kind = _layer_type(layer)
    least, most = kind.bottoms
    if not least <= len(layer.bottoms) <= most:
        raise build.error(f"has {len(layer.bottoms)} bottoms, can take {kind.bottoms_text}")
    before = len(parts.nodes)
    made = kind.convert(build, [values[bottom] for bottom in layer.bottoms])
    if len(made) != len(layer.tops):
        raise build.error(f"has {len(layer.tops)} tops, {len(made)} can be exported")
    if len(parts.nodes) == before + 1:  # a layer that is one node gives it its name
        parts.nodes[-1].name = unique(layer.name, parts.node_names)
    return made


def _layer_type(layer: Layer) -> LayerType:
    try:
        return LAYERS[layer.type]
    except KeyError:
        hint = "give the deploy.prototxt; " if layer.type.endswith(_TRAINING) else ""
        raise ExportError(
            f"layer {layer.name!r} has type {layer.type!r}, which cannot be exported; {hint}"
            f"supported: {', '.join(SUPPORTED)}"
        ) from None


def _graph_input(name: str, shape: Sequence[int | str]) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def _read_once(network: Network) -> frozenset[str]:
    """Blobs that exactly one layer reads and the user does not."""
    reads = Counter(bottom for layer in network.layers for bottom in layer.bottoms)
    return frozenset(name for name, times in reads.items() if times == 1)


def _name_values(network: Network, values: dict[str, ir.Value], parts: Parts) -> list[ir.Value]:
    """Give values their blobs' names, the outputs first; the graph's outputs.

    Several blobs can be one value (after a Split or a Dropout): it has the first name; outputs are copied.
    """
    named = {values[blob.name] for blob in network.inputs}
    outputs = []
    for top in network.outputs:
        value = _copy(values[top], parts) if values[top] in named else values[top]
        value.name = top
        named.add(value)
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
