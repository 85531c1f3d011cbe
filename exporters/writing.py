"""Writes an ONNX file weight by weight, so that writing takes no memory beside what the model has already.

The bytes are those of protocol buffers' own serialiser: fields in the order of their numbers, each message
after its length. Lengths are added up first; then the weights are put down one by one, from where they lie.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

from exporters.mapped import let_go
from exporters.wire import LEN, varint
from runtime.errors import ExportError

if TYPE_CHECKING:
    from google.protobuf.message import Message

_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
_RAW_DATA = onnx.TensorProto.RAW_DATA_FIELD_NUMBER

_PART = 1 << 24
"""Bytes that are written together."""


@dataclass(frozen=True)
class _Initializer:
    """One initializer in the file: what stands before and after its weight, or all of it without one."""

    before: bytes
    weight: ir.TensorProtocol | None = None
    after: bytes = b""

    @property
    def size(self) -> int:
        return len(self.before) + (self.weight.nbytes if self.weight else 0) + len(self.after)


def write_file(model: ir.Model, path: Path) -> None:
    """Save `model` with all its weights in one file, which may have 2 GiB.

    Raises OSError (the disk), ExportError where a weight has not the size of its type and shape.
    """
    skeleton = _without_weights(model)
    before, after = _around(skeleton, _GRAPH)
    start, end = _around(skeleton.graph, _INITIALIZER)
    initializers = [_described(value) for value in model.graph.initializers.values()]
    size = sum(len(_prefix(_INITIALIZER, each.size)) + each.size for each in initializers)
    with path.open("wb") as stream:
        stream.write(before + _prefix(_GRAPH, len(start) + size + len(end)) + start)
        for initializer in initializers:
            stream.write(_prefix(_INITIALIZER, initializer.size) + initializer.before)
            if initializer.weight is not None:
                _write_weight(initializer.weight, stream)
            stream.write(initializer.after)
        stream.write(end + after)


def _without_weights(model: ir.Model) -> onnx.ModelProto:
    """Everything but the initializers of the main graph; those inside nodes stay."""
    light = model.clone()
    for value in light.graph.initializers.values():
        value.const_value = ir.Tensor(np.empty(0, np.uint8))
    proto = ir.to_proto(light)
    del proto.graph.initializer[:]
    return proto


def _around(message: Message, number: int) -> tuple[bytes, bytes]:
    """The bytes of the fields before and after field `number`."""
    before, after = type(message)(), type(message)()
    before.CopyFrom(message)
    after.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.number >= number:
            before.ClearField(field.name)
        if field.number <= number:
            after.ClearField(field.name)
    return before.SerializeToString(), after.SerializeToString()


def _described(value: ir.Value) -> _Initializer:
    tensor = value.const_value
    if tensor is None:
        raise ExportError(f"initializer {value.name!r} has no value; this is a defect of the exporter")
    if not _is_raw(tensor):
        proto = ir.to_proto(tensor)
        proto.name = str(value.name)
        return _Initializer(proto.SerializeToString())
    head = onnx.TensorProto(
        name=str(value.name),
        data_type=int(tensor.dtype),
        dims=tensor.shape.numpy(),
        metadata_props=[{"key": key, "value": text} for key, text in tensor.metadata_props.items()],
    )
    if tensor.doc_string:
        head.doc_string = tensor.doc_string
    before, after = _around(head, _RAW_DATA)
    return _Initializer(before + _prefix(_RAW_DATA, tensor.nbytes), tensor, after)


def _is_raw(tensor: ir.TensorProtocol) -> bool:
    """Whether its values lie in the file as bytes: not texts, not a place elsewhere, not lists of numbers."""
    if isinstance(tensor, ir.TensorProtoTensor):
        return bool(tensor.raw.HasField("raw_data"))
    return not isinstance(tensor, ir.StringTensor | ir.ExternalTensor)


def _prefix(number: int, size: int) -> bytes:
    """What stands before a field of `size` bytes."""
    return varint(number << 3 | LEN) + varint(size)


def _write_weight(weight: ir.TensorProtocol, stream: BinaryIO) -> None:
    start = stream.tell()
    held = weight.raw() if isinstance(weight, ir.LazyTensor) else weight  # computed here and now
    array = held.raw if isinstance(held, ir.Tensor) else None
    if isinstance(array, np.ndarray) and _is_as_written(array, weight.nbytes):
        flat = array.reshape(-1).view(np.uint8)
        for first in range(0, flat.size, _PART):
            stream.write(flat[first : first + _PART].data)
            let_go(flat)
    else:
        stream.write(held.tobytes())
    written = stream.tell() - start
    if written != weight.nbytes:
        raise ExportError(
            f"initializer {weight.name!r} has {written} bytes, its type {weight.dtype.name} and shape"
            f" {list(weight.shape.numpy())} take {weight.nbytes}; this is a defect of the exporter"
        )


def _is_as_written(array: np.ndarray, size: int) -> bool:
    """Whether its memory is what the file holds: not strided, not of the other byte order, not packed."""
    return sys.byteorder == "little" and array.flags.c_contiguous and array.nbytes == size
