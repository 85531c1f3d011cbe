"""Whether TensorRT types a graph's products as its file does: what they compute in, and what they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from runtime import trt_plan
from runtime.trt_library import Library

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_LAYERS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
_BROADCAST = "ONNXTRT_Broadcast"
"""Layers that the parser puts before a product of operands of unlike ranks."""

_NAMES = {
    onnx.TensorProto.FLOAT: "FLOAT",
    onnx.TensorProto.FLOAT16: "HALF",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.INT8: "INT8",
    onnx.TensorProto.FLOAT8E4M3FN: "FP8",
    onnx.TensorProto.INT4: "INT4",
}
"""ONNX's types by TensorRT's names."""


@dataclass(frozen=True)
class Typed:
    """A product's own type, and that of what it multiplies: in Q/DQ, of what is restored for it."""

    computes: str
    reads: tuple[str, ...]


def products_of_file(path: Path) -> dict[str, Typed]:
    """Those of the main graph by node name, typed by ONNX's own inference."""
    model = onnx.load(path, load_external_data=False)
    types = dict(_types_of_file(onnx.shape_inference.infer_shapes(model).graph))
    makers = {output: node for node in model.graph.node for output in node.output}

    def stored(value: str) -> str:
        maker = makers.get(value)
        restored = maker is not None and maker.op_type == "DequantizeLinear"
        return types[maker.input[0] if maker is not None and restored else value]

    return {
        node.name: Typed(types[node.output[0]], tuple(map(stored, node.input[:2])))
        for node in model.graph.node
        if node.op_type in _PRODUCTS
    }


def products_of_network(trt: Library, path: Path) -> dict[str, Typed]:
    """Those of the network that TensorRT's parser makes of a file, by layer name."""
    builder = trt.builder()
    network = trt_plan.parse(trt, builder, path)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {layer.get_output(0).name: layer for layer in layers if layer.num_outputs}

    def stored(tensor: Any) -> str:
        maker = makers.get(tensor.name)
        if maker is not None and maker.name.startswith(_BROADCAST):
            return stored(maker.get_input(0))
        if maker is not None and maker.type.name == "DEQUANTIZE":
            return str(maker.get_input(0).dtype.name)
        return str(tensor.dtype.name)

    return {
        layer.name: Typed(layer.get_output(0).dtype.name, tuple(map(stored, _operands(layer))))
        for layer in layers
        if layer.type.name in _LAYERS
    }


def differences(file: Mapping[str, Typed], network: Mapping[str, Typed]) -> list[str]:
    """A line for each product of a file that the network lacks or types otherwise.

    A convolution by constant weights has one operand in a network: the weights are its own.
    """
    lines = []
    for name, typed in file.items():
        found = network.get(name)
        if (
            found is None
            or typed.computes != found.computes
            or typed.reads[: len(found.reads)] != found.reads
        ):
            lines.append(f"{name}: the file has {typed}, the network {found}")
    return lines


def _types_of_file(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    for value in (*graph.input, *graph.output, *graph.value_info):
        number = value.type.tensor_type.elem_type
        yield value.name, _NAMES.get(number, onnx.TensorProto.DataType.Name(number))
    for tensor in graph.initializer:
        yield tensor.name, _NAMES.get(tensor.data_type, onnx.TensorProto.DataType.Name(tensor.data_type))


def _operands(layer: Any) -> Iterator[Any]:
    operands = (layer.get_input(index) for index in range(min(layer.num_inputs, 2)))
    return (tensor for tensor in operands if tensor is not None)
