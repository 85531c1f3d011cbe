"""`param { name: ... }`: learned arrays that several layers hold together.

The rules are those of Net::AppendParam and Net::CopyTrainedLayersFrom in BVLC/caffe's net.cpp: the first
layer that gives a name owns the array. A caffemodel's layers are copied in one after the other, so of several
that hold the array the last one counts, and a layer that the file lacks has what the others have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporters.caffe.schema import schema
from runtime.errors import GraphError

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter
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
