"""A network that is described as layers, in Caffe: prototxt and caffemodel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model_zoo import caffe_files
from model_zoo.detection_caffe import detection_layers, proposal_layers, region_pool
from model_zoo.detection_layers import Detections, Proposals, RegionPool
from model_zoo.layers import (
    BatchNorm,
    Concat,
    Convolution,
    Deconvolution,
    Dropout,
    Eltwise,
    GlobalAverage,
    InnerProduct,
    Layer,
    LocalResponse,
    Normalize,
    Pool,
    Relu,
    Softmax,
)
from model_zoo.layers_blobs import blobs_of
from model_zoo.network import Network
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter
    from exporters.source import Source

_IN_PLACE = (Dropout, Relu)
"""Layers that overwrite the blob they read."""


def caffe_source(network: Network, weights: Mapping[str, Array]) -> Source:
    """The network with these weights: the input [batch, 3, height, width] to its outputs."""
    from exporters.caffe.source import CaffeSource

    return CaffeSource(prototxt(network), caffemodel(network, weights))


def prototxt(network: Network) -> str:
    """The network's description as text."""
    inputs = {network.input_name: (3, *network.input_size), **network.side_inputs}
    return caffe_files.prototxt_of(network.name, inputs, _layer_messages(network))


def caffemodel(network: Network, weights: Mapping[str, Array]) -> bytes:
    """The learned blobs of every layer, by the layer's name."""
    return caffe_files.caffemodel_of(network.name, _layer_messages(network), blobs_of(network, weights))


def _layer_messages(network: Network) -> Iterator[LayerParameter]:
    blobs = {name: name for name in (network.input_name, *network.side_inputs)}
    for layer in network.layers:
        bottoms = [blobs[name] for name in layer.bottoms]
        top = bottoms[0] if isinstance(layer, _IN_PLACE) else layer.name
        blobs[layer.name] = top
        if type(layer) in _SEVERAL:
            yield from _SEVERAL[type(layer)](layer, bottoms)
        else:
            kind, parameters = _KINDS[type(layer)]
            yield caffe_files.layer(layer.name, kind, bottoms, top, **parameters(layer))


def _none(_: Layer) -> dict[str, object]:
    return {}


def _convolution(layer: Convolution) -> dict[str, object]:
    parameters: dict[str, object] = {"num_output": layer.channels, "kernel_size": [layer.kernel]}
    if layer.padding:
        parameters["pad"] = [layer.padding]
    if layer.stride != 1:
        parameters["stride"] = [layer.stride]
    if layer.dilation != 1:
        parameters["dilation"] = [layer.dilation]
    if not layer.bias:
        parameters["bias_term"] = False
    return {"convolution_param": parameters}


def _deconvolution(layer: Deconvolution) -> dict[str, object]:
    parameters = {
        "num_output": layer.channels,
        "kernel_size": [layer.kernel],
        "stride": [layer.stride],
        "pad": [layer.padding],
        "bias_term": layer.bias,
    }
    return {"convolution_param": parameters}


def _normalize(_: Normalize) -> dict[str, object]:
    return {"norm_param": {"across_spatial": False, "channel_shared": False}}


def _batch_norm(layer: BatchNorm, bottoms: Sequence[str]) -> Iterator[LayerParameter]:
    """Statistics, and gamma and beta behind them, in place."""
    top = layer.name
    yield caffe_files.layer(layer.name, "BatchNorm", bottoms, top, batch_norm_param={"eps": layer.epsilon})
    yield caffe_files.layer(layer.scale, "Scale", [top], top, scale_param={"bias_term": True})


def _eltwise(layer: Eltwise) -> dict[str, object]:
    return {"eltwise_param": {"operation": layer.operation}}


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
    Concat: ("Concat", _none),
    Convolution: ("Convolution", _convolution),
    Deconvolution: ("Deconvolution", _deconvolution),
    Dropout: ("Dropout", _dropout),
    Eltwise: ("Eltwise", _eltwise),
    GlobalAverage: ("Pooling", _global_average),
    InnerProduct: ("InnerProduct", _inner_product),
    LocalResponse: ("LRN", _local_response),
    Normalize: ("Normalize", _normalize),
    Pool: ("Pooling", _pool),
    RegionPool: ("ROIPooling", region_pool),
    Relu: ("ReLU", _none),
    Softmax: ("Softmax", _none),
}

_SEVERAL: Mapping[type[Layer], Callable[[Any, Sequence[str]], Iterator[LayerParameter]]] = {
    BatchNorm: _batch_norm,
    Detections: detection_layers,
    Proposals: proposal_layers,
}
"""Layers that Caffe says as several: from the layer and its bottoms' blobs to those."""
