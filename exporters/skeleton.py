"""An ONNX file without its weights: the same model, in which each says where in the file it lies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir

from exporters.mapped import map_file
from exporters.wire import LEN, Field, Wire, varint

SMALL = 1 << 12
"""Bytes up to which a tensor stays: the checker looks into none that is larger."""

_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
_RAW_DATA = onnx.TensorProto.RAW_DATA_FIELD_NUMBER
_FLOATS = frozenset(int(dtype) for dtype in ir.DataType if dtype.is_floating_point())


def skeleton_of(path: Path) -> bytes:
    """A file for the same folder, with all of `path` but large initializers of floating point.

    Those of whole numbers stay, since shapes are inferred from some. Raises WireError where `path` is no
    protobuf, DecodeError where an initializer is none.
    """
    wire = Wire(map_file(path))
    parts = []
    for model_field, start in _records(wire, 0, len(wire.data)):
        if model_field.tag == _GRAPH and model_field.wire_type == LEN:
            parts.append(_message(_GRAPH, _graph(wire, model_field, path.name)))
        else:
            parts.append(bytes(wire.data[start : model_field.end]))
    return b"".join(parts)


def _graph(wire: Wire, graph: Field, location: str) -> bytes:
    parts = []
    for field, start in _records(wire, graph.start, graph.end):
        is_large = field.tag == _INITIALIZER and field.end - field.start > SMALL
        outside = _outside(wire, field, location) if is_large and field.wire_type == LEN else None
        parts.append(bytes(wire.data[start : field.end]) if outside is None else outside)
    return b"".join(parts)


def _outside(wire: Wire, initializer: Field, location: str) -> bytes | None:
    """The record of an initializer that lies in the file `location`; None where it should stay as it is.

    So does one of a wrong size: the checker sees that only where it has the bytes.
    """
    raw, kept = None, b""
    for field, start in _records(wire, initializer.start, initializer.end):
        if field.wire_type == LEN and field.tag != _RAW_DATA and field.end - field.start > SMALL:
            return None  # a list of numbers instead of bytes
        if field.tag == _RAW_DATA:
            raw = field
        else:
            kept += bytes(wire.data[start : field.end])
    tensor = onnx.TensorProto.FromString(kept)
    if raw is None or tensor.data_type not in _FLOATS or raw.end - raw.start != _size(tensor):
        return None
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": raw.start, "length": raw.end - raw.start}.items():
        tensor.external_data.add(key=key, value=str(value))
    return _message(_INITIALIZER, tensor.SerializeToString())


def _size(tensor: onnx.TensorProto) -> int:
    """Bytes that its type and shape take."""
    return math.ceil(math.prod(map(int, tensor.dims)) * ir.DataType(tensor.data_type).itemsize)


def _records(wire: Wire, start: int, end: int) -> Iterator[tuple[Field, int]]:
    """The fields of a message, each with the place where its key stands."""
    for field in wire.fields(start, end):
        yield field, start
        start = field.end


def _message(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | LEN) + varint(len(payload)) + payload
