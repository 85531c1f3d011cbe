"""Learned arrays that several layers of a network hold: one initializer in ONNX, one for each in OpenCV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from exporters.caffe.blobs import blob_array, blob_message
from exporters.caffe.schema import schema
from exporters.caffe.sharing import address
from exporters.wire import MAX_BYTES
from runtime.errors import UnavailableError

if TYPE_CHECKING:
    import onnx_ir as ir

    from exporters.caffe.blobs import SavedBlob
    from exporters.caffe.caffe_pb2 import NetParameter
    from exporters.caffe.network import Layer, Network
    from exporters.caffe.reading import Caffemodel
    from runtime.tensors import Array


def merge_shared(model: ir.Model, network: Network) -> None:
    """Keep one initializer of each shared blob, however many layers use it; the first gives it its name.

    Also where handlers had to transpose it, each for itself. A blob that is used in two shapes stays two.
    """
    shared = _shared(network)
    first: dict[tuple[object, ...], ir.Value] = {}
    for value in tuple(model.graph.initializers.values() if shared else ()):
        if value.const_value is None or value.name is None:
            continue
        kept = first.setdefault(_identity(value.const_value.numpy(), shared), value)
        if kept is not value:
            value.replace_all_uses_with(kept)
            del model.graph.initializers[value.name]


def _shared(network: Network) -> list[Array]:
    """One view of each blob that more than one layer has."""
    every = {address(array): array for layer in network.layers for array in layer.blobs}
    uses = Counter(address(array) for layer in network.layers for array in layer.blobs)
    return [array for place, array in every.items() if uses[place] > 1]


def _identity(array: Array, shared: Sequence[Array]) -> tuple[object, ...]:
    """What initializers have in common exactly where they are one blob in one shape."""
    for blob in shared:
        is_copy = address(array) != address(blob) and array.ndim == 2 and array.shape == blob.shape[::-1]
        if is_copy and np.array_equal(array, blob.T):
            return ("transposed", address(blob))
    return (address(array), array.shape, array.dtype)


def written_out(network: Network, caffemodel: Caffemodel) -> bytes | None:
    """A caffemodel with each layer's arrays under its own name, as float32.

    For OpenCV, which knows neither sharing nor doubles. None where `caffemodel` is one already. Raises
    UnavailableError where it would be too large.
    """
    saved = {layer.name: layer.blobs for layer in caffemodel.layers}
    if all(_is_saved(layer, saved.get(layer.name, ())) for layer in network.layers):
        return None
    size = sum(array.nbytes for layer in network.layers for array in layer.blobs)
    if size > MAX_BYTES - (1 << 20):
        raise UnavailableError(
            f"OpenCV knows no shared blobs and no doubles, and written out for every layer they have {size}"
            f" bytes; a caffemodel has at most {MAX_BYTES}, so this network cannot be checked"
        )
    net: NetParameter = schema().NetParameter()
    for layer in network.layers:
        net.layer.add(name=layer.name, type=layer.type, blobs=map(blob_message, layer.blobs))
    return bytes(net.SerializeToString())


def _is_saved(layer: Layer, saved: Sequence[SavedBlob]) -> bool:
    """Whether the file holds, under the layer's own name and as float32, what the layer has."""
    if any(part.dtype != np.float32 for blob in saved for part in blob.values):
        return False
    if not any(spec.name for spec in layer.parameter.param):
        return True  # only shared blobs can be others than the layer's own
    arrays = [blob_array(blob, str(layer)) for blob in saved]
    return len(arrays) == len(layer.blobs) and all(map(np.array_equal, arrays, layer.blobs))
