"""What a layer's handler writes its ONNX nodes with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from exporters.caffe.names import unique
from exporters.caffe.shapes import BATCH, MAX_CONSTANT, MAX_COUNT, REGIONS, Dims, dims, sample_count
from runtime.errors import ExportError

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter
    from exporters.caffe.network import Layer
    from runtime.tensors import Array

Attribute = int | float | str | Sequence[int] | Sequence[float] | ir.Graph
Attributes = Mapping[str, Attribute]


class Parts:
    """The nodes and initializers of a graph under construction, and the names already used in it."""

    def __init__(self, value_names: set[str]) -> None:
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []
        self.value_names = value_names
        self.blobs_of: Counter[ir.Value] = Counter()  # a value is several blobs after a Split or a Dropout
        self.node_names: set[str] = set()
        self.dimension_names: set[str] = {BATCH, REGIONS}
        self.named = 0  # how many of the nodes have their final names


class LayerBuilder:
    """Adds one layer's nodes to a graph; hands out its blobs and checks them on the way."""

    def __init__(self, layer: Layer, parts: Parts, read_once: frozenset[str]) -> None:
        self._layer = layer
        self._parts = parts
        self._read_once = read_once

    @property
    def parameter(self) -> LayerParameter:
        """The layer's own description."""
        return self._layer.parameter

    @property
    def tops(self) -> int:
        """How many blobs the layer is asked to make."""
        return len(self._layer.tops)

    @property
    def blobs(self) -> int:
        """How many learned arrays the caffemodel has of the layer."""
        return len(self._layer.blobs)

    def error(self, message: str) -> ExportError:
        """The error to raise when this layer cannot be said in ONNX."""
        return ExportError(f"{self._layer}: {message}")

    def reads_alone(self, index: int, bottom: ir.Value) -> bool:
        """Whether no other layer, nor the user, sees `bottom`, the value of this layer's bottom `index`."""
        return self._layer.bottoms[index] in self._read_once and self._parts.blobs_of[bottom] == 1

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        shape: Dims,
        attributes: Attributes | None = None,
        dtype: ir.DataType = ir.DataType.FLOAT,
    ) -> ir.Value:
        """Append a node with one output of `shape` and `dtype`; its output."""
        return self.nodes(op_type, inputs, [shape], attributes, [dtype])[0]

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        shapes: Sequence[Dims],
        attributes: Attributes | None = None,
        dtypes: Sequence[ir.DataType] | None = None,
    ) -> tuple[ir.Value, ...]:
        """Append one node with as many outputs (float32 unless told) as there are `shapes`; its outputs."""
        name = unique(f"{self._layer.name}/{op_type}", self._parts.node_names)
        types = dtypes or [ir.DataType.FLOAT] * len(shapes)
        outputs = [self._value(name, shape, dtype) for shape, dtype in zip(shapes, types, strict=True)]
        typed = {key: _typed(key, value) for key, value in (attributes or {}).items()}
        self._parts.nodes.append(ir.node(op_type, inputs, typed, outputs=outputs, name=name))
        return tuple(outputs)

    def body(
        self, inputs: Mapping[str, Dims], write: Callable[[Sequence[ir.Value]], Sequence[ir.Value]]
    ) -> ir.Graph:
        """A graph to repeat: its float32 inputs by role, and what `write` makes of them as its outputs.

        Nodes that `write` appends go into it; constants stay outside, where the body can read them.
        """
        outside, self._parts.nodes = self._parts.nodes, []
        values = [
            self._value(f"{self._layer.name}/{role}", shape, ir.DataType.FLOAT)
            for role, shape in inputs.items()
        ]
        outputs = write(values)
        inside, self._parts.nodes = self._parts.nodes, outside
        return ir.Graph(values, outputs, nodes=inside, name=f"{self._layer.name}/body")

    def limit(self, what: str, count: int) -> None:
        """Raise ExportError where `count` numbers are too many to be worked out now."""
        if count > MAX_CONSTANT:
            raise self.error(f"would need {count} {what}, at most {MAX_CONSTANT} are made")

    def constant(self, role: str, array: Array) -> ir.Value:
        """An initializer called layer/role that holds `array`, not a copy of it."""
        name = unique(f"{self._layer.name}/{role}", self._parts.value_names)
        tensor = ir.Tensor(np.asarray(array, order="C"), name=name)
        value = ir.Value(
            name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._parts.initializers.append(value)
        return value

    def dimension(self, role: str) -> str:
        """A name for a dimension that only running the network tells; two of one name must be equal."""
        return unique(f"{self._layer.name}/{role}", self._parts.dimension_names)

    def blob(self, index: int, role: str, shape: Sequence[int]) -> Array:
        """The layer's learned array in the shape that the prototxt asks for.

        Caffe wrote every blob with four dimensions once, filled up with ones in front or (BN) around: those
        are ignored.
        """
        blobs = self._layer.blobs
        if index >= len(blobs):
            raise self.error(
                f"the caffemodel holds {len(blobs)} blobs under this name, blob {index} ({role},"
                f" {list(shape)}) is missing; is it the caffemodel of this prototxt?"
            )
        array = blobs[index]
        if _without_outer_ones(array.shape) != _without_outer_ones(shape):
            raise self.error(
                f"blob {index} ({role}) has shape {list(array.shape)}, the prototxt wants {list(shape)};"
                " is it the caffemodel of this prototxt?"
            )
        return array.reshape(shape)

    def axis(self, bottom: ir.Value, axis: int) -> int:
        """`axis` counted from the front; raises ExportError when `bottom` does not have it."""
        rank = len(dims(bottom))
        if not -rank <= axis < rank:
            raise self.error(f"axis {axis} of a blob with shape {_listed(bottom)}")
        return axis % rank

    def sizes(self, bottom: ir.Value, start: int, end: int | None = None) -> tuple[int, ...]:
        """The dimensions start:end of `bottom`; raises ExportError when the open batch is among them."""
        found = dims(bottom)[start:end]
        numbers = tuple(size for size in found if isinstance(size, int))
        if len(numbers) != len(found):
            raise self.error(f"the batch of {_listed(bottom)} cannot be merged with other dimensions")
        return numbers

    def image(self, bottom: ir.Value) -> tuple[int, int, int]:
        """Channels, height and width of `bottom`; raises ExportError unless it has four dimensions."""
        if len(dims(bottom)) != 4:
            raise self.error(f"wants four dimensions (batch, channels, height, width), got {_listed(bottom)}")
        channels, height, width = self.sizes(bottom, 1)
        return channels, height, width

    def _value(self, name: str, shape: Dims, dtype: ir.DataType) -> ir.Value:
        numbers = [size for size in shape if isinstance(size, int)]
        if min(numbers, default=1) < 1 or sample_count(shape) > MAX_COUNT:
            raise self.error(
                f"would make a blob of shape {list(shape)}; every dimension must be 1 or more,"
                f" and all together at most {MAX_COUNT} values"
            )
        return ir.Value(
            name=unique(name, self._parts.value_names),
            shape=ir.Shape(shape),
            type=ir.TensorType(dtype),
        )


def _typed(name: str, value: Attribute) -> Attribute | ir.Attr:
    """Lists of numbers with their type: that `ir.node` tries all others first took half of a conversion."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    whole = [number for number in value if isinstance(number, int)]
    real = [number for number in value if isinstance(number, float)]
    if len(whole) == len(value):
        return ir.AttrInt64s(name, whole)
    return ir.AttrFloat32s(name, real) if len(real) == len(value) else value


def _without_outer_ones(shape: Sequence[int]) -> tuple[int, ...]:
    real = [index for index, size in enumerate(shape) if size != 1]
    return tuple(shape[real[0] : real[-1] + 1]) if real else ()


def _listed(value: ir.Value) -> str:
    return f"[{', '.join(map(str, dims(value)))}]"
