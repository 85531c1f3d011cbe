"""`param { name: ... }`: learned arrays that several layers hold together.

The rules are those of Net::AppendParam and Net::CopyTrainedLayersFrom in BVLC/caffe's net.cpp: the first
layer that gives a name owns the array. A caffemodel's layers are copied in one after the other, so of several
that hold the array the last one counts, and a layer that the file lacks has what the others have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporters.caffe.blobs import blob_array, blob_message
from exporters.caffe.schema import schema
from exporters.wire import MAX_BYTES
from runtime.errors import GraphError, UnavailableError

if TYPE_CHECKING:
    import onnx_ir as ir

    from exporters.caffe.blobs import SavedBlob
    from exporters.caffe.caffe_pb2 import LayerParameter, NetParameter
    from exporters.caffe.network import Layer, Network
    from exporters.caffe.reading import Caffemodel
    from runtime.tensors import Array

Blobs = tuple["Array", ...]


@dataclass(frozen=True, eq=False)
class _Use:
    """Blob `blob` of a layer, which has a name; `saved` is what the caffemodel holds of it."""

    name: str
    index: int
    layer: LayerParameter
    blob: int
    saved: Array | None


def share(layers: Sequence[LayerParameter], saved: Mapping[str, Blobs]) -> list[Blobs]:
    """Each layer's arrays: those saved under its name, of which shared ones are views of one memory.

    saved: by layer name, in the order of the caffemodel.
    Raises GraphError where arrays of other shapes (of another count, if PERMISSIVE) are to be one.
    """
    uses = list(_uses(layers, saved))
    held = [(use, use.saved) for use in uses if use.saved is not None]
    _check_shapes(held)
    order = {name: index for index, name in enumerate(saved)}
    last = {use.name: array for use, array in sorted(held, key=lambda pair: order[pair[0].layer.name])}
    blobs = [list(saved.get(layer.name, ())) for layer in layers]
    for use in uses:
        own = blobs[use.index]
        if use.saved is not None:
            own[use.blob] = last[use.name].reshape(use.saved.shape)
        elif use.name in last and use.blob == len(own):
            own.append(last[use.name])
    return [tuple(own) for own in blobs]


def _uses(layers: Sequence[LayerParameter], saved: Mapping[str, Blobs]) -> Iterator[_Use]:
    for index, layer in enumerate(layers):
        arrays = saved.get(layer.name, ())
        for blob, spec in enumerate(layer.param):
            if spec.name:
                yield _Use(spec.name, index, layer, blob, arrays[blob] if blob < len(arrays) else None)


def _check_shapes(held: Sequence[tuple[_Use, Array]]) -> None:
    """Caffe compares what the layers ask for; the file has the same, as Caffe takes no other."""
    owners: dict[str, tuple[_Use, Array]] = {}
    for use, array in held:
        owner, theirs = owners.setdefault(use.name, (use, array))
        permissive = use.layer.param[use.blob].share_mode == schema().ParamSpec.PERMISSIVE
        if array.size != theirs.size or not (permissive or array.shape == theirs.shape):
            raise GraphError(
                f"layer {use.layer.name!r} shares its blob {use.blob}, {list(array.shape)}, as {use.name!r}"
                f" with layer {owner.layer.name!r}, where it is {list(theirs.shape)}; give both one shape, or"
                " one of them another name"
            )


def address(array: Array) -> int:
    """Where an array's memory begins: the same for all views of one shared blob, and for no other blob."""
    return int(array.__array_interface__["data"][0])


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
