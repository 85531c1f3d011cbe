"""Prototxt and caffemodel, written through Caffe's schema; what every Caffe network of the zoo shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter

Blobs = dict[str, tuple[NDArray[np.float32], ...]]
"""Layer name to its blobs, as a caffemodel holds them."""

STATISTICS_FACTOR = 999.98
"""Third blob of a BatchNorm layer, by which the other two are divided; training leaves about this."""


def layer(
    name: str, kind: str, bottoms: Sequence[str], top: str | None = None, **parameters: object
) -> LayerParameter:
    """A layer that writes the blob `top`, by default one of its own name.

    parameters: Caffe's fields, such as convolution_param={"num_output": 64}.
    """
    from exporters.caffe.schema import schema

    message: LayerParameter = schema().LayerParameter(
        name=name, type=kind, bottom=bottoms, top=[top or name], **parameters
    )
    return message


def prototxt_of(name: str, inputs: Mapping[str, Sequence[int]], layers: Iterable[LayerParameter]) -> str:
    """The text of a network that reads one sample of each of `inputs` (name to the sample's shape)."""
    from google.protobuf import text_format

    from exporters.caffe.schema import schema

    net = schema().NetParameter(name=name, layer=layers)
    for input_name, shape in inputs.items():
        net.input.append(input_name)
        net.input_shape.add(dim=(1, *shape))
    text: str = text_format.MessageToString(net)
    return text


def caffemodel_of(name: str, layers: Iterable[LayerParameter], blobs: Mapping[str, Sequence[Array]]) -> bytes:
    """The blobs of those of `layers` that have any, in the order of `blobs`."""
    from exporters.caffe.blobs import blob_message
    from exporters.caffe.schema import schema

    kinds = {layer.name: layer.type for layer in layers}
    model = schema().NetParameter(name=name)
    for learned, arrays in blobs.items():
        messages = [blob_message(array) for array in arrays]
        model.layer.add(name=learned, type=kinds[learned], blobs=messages)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def blob_name(layer_name: str, index: int) -> str:
    """What `weights.read_weights` calls a caffemodel's blobs."""
    return f"{layer_name}/{index}"


def statistics_blobs(
    mean: NDArray[np.float32], variance: NDArray[np.float32]
) -> tuple[NDArray[np.float32], ...]:
    """The three blobs of a BatchNorm layer."""
    factor = np.array([STATISTICS_FACTOR], np.float32)
    return mean * factor, variance * factor, factor


def statistics_from(mean: Array, variance: Array, factor: Array) -> tuple[Array, Array]:
    """Mean and variance as Caffe reads the three blobs: a factor of 0 multiplies by 0 (CAFFE.md 7)."""
    scale = np.float32(1) / factor if factor[0] else np.zeros_like(factor)
    return mean * scale, variance * scale
