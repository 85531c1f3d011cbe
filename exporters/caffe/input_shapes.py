"""Other shapes for inputs than the prototxt says, as `net.blobs['data'].reshape(...)` gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from exporters.caffe.reading import read_prototxt
from exporters.caffe.shapes import MAX_COUNT, Dims
from runtime.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import BlobShape, NetParameter
    from exporters.caffe.network import Network

Shapes = Mapping[str, Sequence[int]]
"""Input name to its shape, the batch first; what is said of the batch changes nothing, as it stays open."""


def with_input_shapes(network: Network, shapes: Shapes) -> Network:
    """The same network over inputs of these shapes.

    Raises UsageError where an input is not one of the network's, or cannot have its shape.
    """
    dims = {blob.name: blob.dims for blob in network.inputs}
    for name, shape in shapes.items():
        if name not in dims:
            raise unknown_name("input of this network", name, dims)
        _check(name, dims[name], shape)
        dims[name] = (dims[name][0], *shape[1:])
    return replace(network, inputs=tuple(replace(blob, dims=dims[blob.name]) for blob in network.inputs))


def reshaped_text(prototxt: str, shapes: Shapes) -> str:
    """A sound prototxt with `shapes` written into it; itself where there are none."""
    if not shapes:
        return prototxt
    from google.protobuf import text_format

    return str(text_format.MessageToString(_reshaped(read_prototxt(prototxt), shapes)))


def _check(name: str, dims: Dims, shape: Sequence[int]) -> None:
    if len(shape) != len(dims):
        raise UsageError(
            f"input {name!r} has {len(dims)} dimensions, [{', '.join(map(str, dims))}];"
            f" the shape given for it has {len(shape)}: {list(shape)}"
        )
    if min(shape) < 1 or prod(shape) > MAX_COUNT:
        raise UsageError(
            f"the shape {list(shape)} given for input {name!r}: every dimension must be 1 or more,"
            f" and all together at most {MAX_COUNT} values"
        )


def _reshaped(net: NetParameter, shapes: Shapes) -> NetParameter:
    for index, name in enumerate(net.input):
        if name in shapes and net.input_shape:
            net.input_shape[index].dim[:] = shapes[name]
        elif name in shapes:
            net.input_dim[4 * index : 4 * index + 4] = shapes[name]
    for layer in net.layer:
        if layer.type == "Input" and not shapes.keys().isdisjoint(layer.top):
            before = [_dims(layer.input_param.shape, index) for index in range(len(layer.top))]
            del layer.input_param.shape[:]
            for top, dims in zip(layer.top, before, strict=True):
                layer.input_param.shape.add(dim=shapes.get(top, dims))
    return net


def _dims(shapes: Sequence[BlobShape], top: int) -> Sequence[int]:
    """One shape may stand for all tops."""
    return list(shapes[top if len(shapes) > 1 else 0].dim)
