"""A network that is described as layers, in Caffe: prototxt and caffemodel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from model_zoo import caffe_files
from model_zoo.layers import (
    BatchNorm,
    Concat,
    Convolution,
    Dropout,
    GlobalAverage,
    InnerProduct,
    Layer,
    LocalResponse,
    Network,
    Pool,
    Relu,
    Softmax,
)
from model_zoo.layers_blobs import blobs_of
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter
    from exporters.source import Source

_IN_PLACE = (Dropout, Relu)
"""Layers that overwrite the blob they read."""


def caffe_source(network: Network, weights: Mapping[str, Array]) -> Source:
    """The network with these weights: the input [batch, 3, size, size] to its last layer's scores."""
    from exporters.caffe.source import CaffeSource

    return CaffeSource(prototxt(network), caffemodel(network, weights))


def prototxt(network: Network) -> str:
    """The network's description as text."""
    return caffe_files.prototxt_of(
        network.name, network.input_name, network.input_size, _layer_messages(network)
    )


def caffemodel(network: Network, weights: Mapping[str, Array]) -> bytes:
    """The learned blobs of every layer, by the layer's name."""
    return caffe_files.caffemodel_of(network.name, _layer_messages(network), blobs_of(network, weights))


def _layer_messages(network: Network) -> Iterator[LayerParameter]:
    blobs = {network.input_name: network.input_name}
    for layer in network.layers:
        bottoms = [blobs[name] for name in layer.bottoms]
        top = bottoms[0] if isinstance(layer, _IN_PLACE) else layer.name
        blobs[layer.name] = top
        kind, parameters = _KINDS[type(layer)]
        yield caffe_files.layer(layer.name, kind, bottoms, top, **parameters(layer))
        if isinstance(layer, BatchNorm):
            yield caffe_files.layer(layer.scale, "Scale", [top], top, scale_param={"bias_term": True})


def _none(_: Layer) -> dict[str, object]:
    return {}


def _convolution(layer: Convolution) -> dict[str, object]:
    parameters: dict[str, object] = {"num_output": layer.channels, "kernel_size": [layer.kernel]}
    if layer.padding:
        parameters["pad"] = [layer.padding]
    if layer.stride != 1:
        parameters["stride"] = [layer.stride]
    if not layer.bias:
        parameters["bias_term"] = False
    return {"convolution_param": parameters}


def _batch_norm(layer: BatchNorm) -> dict[str, object]:
    return {"batch_norm_param": {"eps": layer.epsilon}}


def _pool(layer: Pool) -> dict[str, object]:
    parameters: dict[str, object] = {"pool": layer.kind, "kernel_size": layer.kernel, "stride": layer.stride}
    if layer.padding:
        parameters["pad"] = layer.padding
    if not layer.ceil:
        parameters["ceil_mode"] = False
    return {"pooling_param": parameters}


def _global_average(_: GlobalAverage) -> dict[str, object]:
    return {"pooling_param": {"pool": "AVE", "global_pooling": True}}


def _local_response(layer: LocalResponse) -> dict[str, object]:
    return {"lrn_param": {"local_size": layer.width, "alpha": layer.alpha, "beta": layer.beta}}


def _dropout(layer: Dropout) -> dict[str, object]:
    return {"dropout_param": {"dropout_ratio": layer.ratio}}


def _inner_product(layer: InnerProduct) -> dict[str, object]:
    return {"inner_product_param": {"num_output": layer.channels}}


_KINDS: Mapping[type[Layer], tuple[str, Callable[[Any], dict[str, object]]]] = {
    BatchNorm: ("BatchNorm", _batch_norm),
    Concat: ("Concat", _none),
    Convolution: ("Convolution", _convolution),
    Dropout: ("Dropout", _dropout),
    GlobalAverage: ("Pooling", _global_average),
    InnerProduct: ("InnerProduct", _inner_product),
    LocalResponse: ("LRN", _local_response),
    Pool: ("Pooling", _pool),
    Relu: ("ReLU", _none),
    Softmax: ("Softmax", _none),
}
