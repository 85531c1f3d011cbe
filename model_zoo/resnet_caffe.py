"""A ResNet in Caffe: the prototxt as the authors wrote theirs, and a caffemodel with the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from model_zoo.caffe_files import caffemodel_of, layer, prototxt_of
from model_zoo.resnet import CLASSIFIER, Block, Convolution, ResNet
from model_zoo.resnet_blobs import blobs_of
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter
    from exporters.source import Source


def caffe_source(network: ResNet, weights: Mapping[str, Array]) -> Source:
    """The network with these weights: `data` [batch, 3, size, size] BGR minus the mean to `prob`."""
    from exporters.caffe.source import CaffeSource

    return CaffeSource(prototxt(network), caffemodel(network, weights))


def prototxt(network: ResNet) -> str:
    """The network's description as text."""
    size = (3, network.input_size, network.input_size)
    return prototxt_of(network.name, {"data": size}, _layers(network))


def caffemodel(network: ResNet, weights: Mapping[str, Array]) -> bytes:
    """The learned blobs of every layer, by the layer's name."""
    return caffemodel_of(network.name, _layers(network), blobs_of(network, weights))


def _layers(network: ResNet) -> Iterator[LayerParameter]:
    yield from _convolution(network.stem, "data")
    yield _relu("conv1")
    yield layer("pool1", "Pooling", ["conv1"], pooling_param={"pool": "MAX", "kernel_size": 3, "stride": 2})
    bottom = "pool1"
    for block in network.blocks:
        yield from _block(block, bottom)
        bottom = block.name
    average = {"pool": "AVE", "kernel_size": network.feature_size, "stride": 1}
    yield layer("pool5", "Pooling", [bottom], pooling_param=average)
    yield layer(CLASSIFIER, "InnerProduct", ["pool5"], inner_product_param={"num_output": network.classes})
    yield layer("prob", "Softmax", [CLASSIFIER])


def _block(block: Block, bottom: str) -> Iterator[LayerParameter]:
    shortcut = bottom
    if block.projection:
        yield from _convolution(block.projection, bottom)
        shortcut = block.projection.name
    for part in block.branch:
        yield from _convolution(part, bottom)
        if part is not block.branch[-1]:
            yield _relu(part.name)
        bottom = part.name
    yield layer(block.name, "Eltwise", [shortcut, bottom])
    yield _relu(block.name)


def _convolution(part: Convolution, bottom: str) -> Iterator[LayerParameter]:
    """Convolution, BatchNorm and Scale; the last two overwrite the first one's blob."""
    parameters = {
        "num_output": part.output_channels,
        "kernel_size": [part.kernel],
        "pad": [part.padding],
        "stride": [part.stride],
        "bias_term": part.bias,
    }
    yield layer(part.name, "Convolution", [bottom], convolution_param=parameters)
    yield _in_place(part.batch_norm, "BatchNorm", part.name, batch_norm_param={"use_global_stats": True})
    yield _in_place(part.scale, "Scale", part.name, scale_param={"bias_term": True})


def _relu(blob: str) -> LayerParameter:
    return _in_place(f"{blob}_relu", "ReLU", blob)


def _in_place(name: str, kind: str, blob: str, **parameters: object) -> LayerParameter:
    return layer(name, kind, [blob], blob, **parameters)
