"""A prototxt and a caffemodel as one network: inputs, layers in order, blobs attached, every name unique."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from exporters.caffe.blobs import blob_array
from exporters.caffe.names import unique
from exporters.caffe.phases import in_test_phase
from exporters.caffe.shapes import BATCH, MAX_COUNT, REGIONS, Dims
from exporters.caffe.sharing import address, share
from exporters.caffe.upgrade import layers as current_layers
from runtime.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporters.caffe.caffe_pb2 import BlobShape, LayerParameter, NetParameter
    from exporters.caffe.reading import Caffemodel
    from runtime.tensors import Array

_STATISTICS = frozenset({"BatchNorm"})
"""Layer types whose blobs are collected, not learned: mean, variance and the moving average's factor."""

_READ_REGIONS = frozenset({"PSROIPooling", "ROIAlign", "ROIPooling"})
"""Layer types whose second bottom is regions of interest."""


@dataclass(frozen=True)
class Input:
    """A blob that the user feeds; its first dimension is open whatever the prototxt says."""

    name: str
    dims: Dims


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, what it reads and makes (names made unique), its blobs as float32 arrays."""

    name: str
    type: str
    parameter: LayerParameter
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    blobs: tuple[Array, ...]
    line: int | None = None

    def __str__(self) -> str:
        """How errors call it: name, type and, where it is known, its line in the prototxt."""
        at = "" if self.line is None else f"line {self.line}: "
        return f"{at}layer {self.name!r} ({self.type})"


@dataclass(frozen=True)
class Network:
    """The TEST-phase network, in the order in which Caffe runs it."""

    name: str
    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Learned values, shared ones once: weights, biases, gamma and beta; not batch-norm statistics."""
        learned = [blob for layer in self.layers if layer.type not in _STATISTICS for blob in layer.blobs]
        return sum({address(blob): blob.size for blob in learned}.values())


def build_network(prototxt: NetParameter, caffemodel: Caffemodel, lines: Sequence[int] = ()) -> Network:
    """Join both files; `lines` are those of the prototxt's layers, for errors.

    Raises GraphError where the files do not make one network.
    """
    every = current_layers(prototxt)
    found = in_test_phase(every, prototxt.state)
    line_of = dict(zip(map(id, every), lines, strict=False))
    inputs = tuple(_inputs(prototxt, found))
    _check_names(inputs, found)
    computing = [layer for layer in found if layer.type != "Input"]
    _check_tops(inputs, computing)
    tops = _unique_tops(inputs, computing)
    blobs = share(computing, _blobs_by_layer(caffemodel, computing))
    current = {blob.name: blob.name for blob in inputs}
    layers: list[Layer] = []
    for parameter, names, learned in zip(computing, tops, blobs, strict=True):
        bottoms = tuple(_lookup(current, bottom, parameter, computing) for bottom in parameter.bottom)
        current.update(zip(parameter.top, names, strict=True))
        line = line_of.get(id(parameter))
        layers.append(Layer(parameter.name, parameter.type, parameter, bottoms, names, learned, line))
    return Network(prototxt.name, _regions_apart(inputs, layers), tuple(layers), unread_tops(layers))


def _check_names(inputs: Sequence[Input], layers: Sequence[LayerParameter]) -> None:
    if not inputs:
        raise GraphError(
            "the prototxt has no input: give the deploy.prototxt,"
            " or put an Input layer in place of its data layer"
        )
    fed = [blob.name for blob in inputs]
    if len(set(fed)) != len(fed):
        raise GraphError(f"the prototxt has inputs {fed}; each needs a name of its own")
    for index, layer in enumerate(layers):
        if not layer.type:
            raise GraphError(f'layer {index} ({layer.name!r}) has no type; give it one, as in type: "ReLU"')
        if not all((layer.name, *layer.top, *layer.bottom)):
            raise GraphError(f"layer {index} ({layer.type} {layer.name!r}) has an empty name, top or bottom")


def _check_tops(inputs: Sequence[Input], layers: Sequence[LayerParameter]) -> None:
    """Each blob is made once; after that a layer may write over it in place, as Net::AppendTop allows."""
    makers = {blob.name: "an input" for blob in inputs}
    for layer in layers:
        for index, top in enumerate(layer.top):
            in_place = index < len(layer.bottom) and layer.bottom[index] == top
            if top in makers and not in_place:
                raise GraphError(
                    f"layer {layer.name!r} makes blob {top!r}, which {makers[top]} makes already; rename one,"
                    " or let the layer read what it writes over"
                )
            makers[top] = f"layer {layer.name!r}"


def _inputs(net: NetParameter, layers: Sequence[LayerParameter]) -> Iterator[Input]:
    """The old net-level `input` (with `input_shape` or `input_dim`), then the Input layers."""
    shapes = [tuple(shape.dim) for shape in net.input_shape]
    if not shapes:  # before 2015-02: always four dimensions an input
        shapes = [tuple(net.input_dim[i : i + 4]) for i in range(0, len(net.input_dim), 4)]
    if len(shapes) != len(net.input):
        raise GraphError(
            f"the prototxt names {len(net.input)} inputs and gives {len(shapes)} shapes; each input needs"
            " one input_shape, or four input_dim"
        )
    for name, shape in zip(net.input, shapes, strict=True):
        yield _input(name, shape)
    for layer in layers:
        if layer.type == "Input":
            yield from _layer_inputs(layer.name, layer.top, layer.input_param.shape)


def _layer_inputs(layer: str, tops: Sequence[str], shapes: Sequence[BlobShape]) -> Iterator[Input]:
    if len(shapes) not in (1, len(tops)):
        raise GraphError(
            f"layer {layer!r} (Input) has {len(tops)} tops and {len(shapes)} shapes;"
            " give one shape, or one a top"
        )
    for index, top in enumerate(tops):
        yield _input(top, tuple(shapes[index if len(shapes) > 1 else 0].dim))


def _input(name: str, shape: Sequence[int]) -> Input:
    if not shape or min(shape) < 1 or prod(shape[1:]) > MAX_COUNT:
        raise GraphError(
            f"input {name!r} has shape {list(shape)}; every dimension must be 1 or more,"
            f" and a sample has at most {MAX_COUNT} values"
        )
    return Input(name, (BATCH, *shape[1:]))


def _unique_tops(inputs: Sequence[Input], layers: Sequence[LayerParameter]) -> list[tuple[str, ...]]:
    """For each layer the names of its tops, so that no name is made twice.

    Caffe lets a layer write over the blob it reads. The last writer keeps the blob's name, as that is
    what the user sees; earlier values, and all values written over an input, are called blob/layer.
    """
    fed = {blob.name for blob in inputs}
    writes_left = Counter(top for layer in layers for top in layer.top)
    taken = fed | set(writes_left)
    names = []
    for layer in layers:
        renamed = []
        for top in layer.top:
            writes_left[top] -= 1
            last = writes_left[top] == 0 and top not in fed
            renamed.append(top if last else unique(f"{top}/{layer.name}", taken))
        names.append(tuple(renamed))
    return names


def _blobs_by_layer(caffemodel: Caffemodel, layers: Sequence[LayerParameter]) -> dict[str, tuple[Array, ...]]:
    """The blobs of the layers that the network has, in the caffemodel's order.

    Caffe joins the two files by layer name alone.
    """
    wanted = Counter(layer.name for layer in layers)
    blobs: dict[str, tuple[Array, ...]] = {}
    for saved in caffemodel.layers:
        if saved.name not in wanted or not saved.blobs:
            continue
        if wanted[saved.name] > 1 or saved.name in blobs:
            raise GraphError(
                f"layer name {saved.name!r} is used more than once, so its blobs belong to no one layer;"
                " rename the layers in both files"
            )
        blobs[saved.name] = tuple(
            blob_array(blob, f"layer {saved.name!r} blob {index}") for index, blob in enumerate(saved.blobs)
        )
    return blobs


def _lookup(
    current: dict[str, str], bottom: str, layer: LayerParameter, layers: Sequence[LayerParameter]
) -> str:
    if bottom in current:
        return current[bottom]
    maker = next((other.name for other in layers if bottom in other.top), None)
    late = "" if maker is None else f"; layer {maker!r} makes it, and Caffe runs layers in the file's order"
    raise GraphError(
        f"layer {layer.name!r} reads blob {bottom!r}, which no input or earlier layer makes{late}"
    )


def _regions_apart(inputs: tuple[Input, ...], layers: Sequence[Layer]) -> tuple[Input, ...]:
    """An input of regions (Fast R-CNN) has as many rows as it likes, not as many as there are images."""
    fed = _regions(layers)
    return tuple(Input(blob.name, (REGIONS, *blob.dims[1:])) if blob.name in fed else blob for blob in inputs)


def unread_tops(layers: Sequence[Layer]) -> tuple[str, ...]:
    """The tops that no layer reads, and regions, in the order in which they are made.

    What a network says of regions means nothing without them: py-faster-rcnn reads that blob, too.
    """
    read = {bottom for layer in layers for bottom in layer.bottoms} - _regions(layers)
    return tuple(top for layer in layers for top in layer.tops if top not in read)


def _regions(layers: Sequence[Layer]) -> frozenset[str]:
    """The blobs that are read as regions of interest."""
    return frozenset(
        layer.bottoms[1] for layer in layers if layer.type in _READ_REGIONS and len(layer.bottoms) > 1
    )
