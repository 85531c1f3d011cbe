"""A ResNet in Caffe: the prototxt as the authors wrote theirs, and a caffemodel with the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from model_zoo.resnet import CLASSIFIER, Block, Convolution, ResNet
from model_zoo.resnet_blobs import blobs_of
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter, NetParameter
    from exporters.source import Source


def caffe_source(network: ResNet, weights: Mapping[str, Array]) -> Source:
    """The network with these weights: `data` [batch, 3, size, size] BGR minus the mean to `prob`."""
    from exporters.caffe.source import CaffeSource

    return CaffeSource(prototxt(network), caffemodel(network, weights))


def prototxt(network: ResNet) -> str:
    """The network's description as text."""
    from google.protobuf import text_format

    description = _net(network)
    description.input.append("data")
    description.input_dim.extend((1, 3, network.input_size, network.input_size))
    description.layer.extend(_layers(network))
    text: str = text_format.MessageToString(description)
    return text


def caffemodel(network: ResNet, weights: Mapping[str, Array]) -> bytes:
    """The learned blobs of every layer, by the layer's name."""
    from exporters.caffe.blobs import blob_message

    model = _net(network)
    kinds = {layer.name: layer.type for layer in _layers(network)}
    for layer, arrays in blobs_of(network, weights).items():
        blobs = [blob_message(array) for array in arrays]
        model.layer.add(name=layer, type=kinds[layer], blobs=blobs)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _net(network: ResNet) -> NetParameter:
    from exporters.caffe.schema import schema

    net: NetParameter = schema().NetParameter(name=network.name)
    return net


def _layers(network: ResNet) -> Iterator[LayerParameter]:
    yield from _convolution(network.stem, "data")
    yield _relu("conv1")
    yield _layer("pool1", "Pooling", ["conv1"], pooling_param={"pool": "MAX", "kernel_size": 3, "stride": 2})
    bottom = "pool1"
    for block in network.blocks:
        yield from _block(block, bottom)
        bottom = block.name
    average = {"pool": "AVE", "kernel_size": network.feature_size, "stride": 1}
    yield _layer("pool5", "Pooling", [bottom], pooling_param=average)
    yield _layer(CLASSIFIER, "InnerProduct", ["pool5"], inner_product_param={"num_output": network.classes})
    yield _layer("prob", "Softmax", [CLASSIFIER])


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
    yield _layer(block.name, "Eltwise", [shortcut, bottom])
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
    yield _layer(part.name, "Convolution", [bottom], convolution_param=parameters)
    yield _in_place(part.batch_norm, "BatchNorm", part.name, batch_norm_param={"use_global_stats": True})
    yield _in_place(part.scale, "Scale", part.name, scale_param={"bias_term": True})


def _relu(blob: str) -> LayerParameter:
    return _in_place(f"{blob}_relu", "ReLU", blob)


def _in_place(name: str, kind: str, blob: str, **parameters: object) -> LayerParameter:
    layer = _layer(name, kind, [blob], **parameters)
    layer.top[:] = [blob]
    return layer


def _layer(name: str, kind: str, bottoms: Sequence[str], **parameters: object) -> LayerParameter:
    from exporters.caffe.schema import schema

    layer: LayerParameter = schema().LayerParameter(
        name=name, type=kind, bottom=bottoms, top=[name], **parameters
    )
    return layer
