"""Caffe's two files: the text prototxt as a message, the binary caffemodel as views into its bytes.

Both come from strangers. Every way in which they can be wrong ends in one GraphError.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.caffe.blobs import SavedBlob, read_blob
from exporters.caffe.schema import schema
from exporters.caffe.text import pieces
from exporters.mapped import map_file
from exporters.wire import LEN, MAX_BYTES, Field, Wire, WireError
from runtime.errors import GraphError, UsageError

if TYPE_CHECKING:
    from google.protobuf.text_format import ParseError

    from exporters.caffe.caffe_pb2 import NetParameter

MAX_TEXT_BYTES = 4 << 20
"""The largest prototxt of the originals has 0.3 MB; a text parser's memory is a multiple of the text."""

_LONGEST_NAME = 1 << 12
_LONGEST_REASON = 300

_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\r")
_HDF5 = b"\x89HDF\r\n\x1a\n"

_NET_NAME = 1
_FORM_OF_2013 = 1  # in a V1 layer: the V0 layer


@dataclass(frozen=True)
class _Form:
    """Where a form of layers stands in a net, and name and blobs in the layer."""

    layers: int
    name: int
    blobs: int


_TODAY = _Form(layers=100, name=1, blobs=7)
_V1 = _Form(layers=2, name=4, blobs=6)
_FORMS = {form.layers: form for form in (_TODAY, _V1)}


@dataclass(frozen=True)
class SavedLayer:
    """What a caffemodel holds of one layer."""

    name: str
    blobs: tuple[SavedBlob, ...]


@dataclass(frozen=True)
class Caffemodel:
    """The layers of a caffemodel, of today's form and V1's alike, in the order of the file."""

    layers: tuple[SavedLayer, ...]


def read_files(prototxt: Path, caffemodel: Path) -> tuple[str, memoryview]:
    """The text of the one; the bytes of the other, mapped and not yet read.

    Raises UsageError where one cannot be read or is no file of its kind.
    """
    both = f"cannot read the Caffe model {prototxt} with {caffemodel}"
    try:
        size = prototxt.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise UsageError(f"{both}: the prototxt has {size} bytes, at most {MAX_TEXT_BYTES} are read")
        text, blobs = prototxt.read_text(encoding="utf-8-sig"), map_file(caffemodel)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{both}: byte {error.start} of the prototxt is no UTF-8; save it as UTF-8, or give the two files"
            " the other way round"
        ) from error
    except OSError as error:
        raise UsageError(f"{both}: {error}") from error
    if not blobs:
        raise UsageError(f"{both}: the caffemodel is empty; copy it again")
    return text, blobs


def read_prototxt(text: str) -> NetParameter:
    """The network's description; raises GraphError with line and column when the text is not one.

    Fields that the schema does not have are left out here; `text.outline` names them.
    """
    from google.protobuf import text_format

    net: NetParameter = schema().NetParameter()
    if len(text) > MAX_TEXT_BYTES:
        raise GraphError(f"the prototxt has {len(text)} characters, at most {MAX_TEXT_BYTES} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of an unknown escape in a string
            lines = (piece.text for piece in pieces(text))
            text_format.ParseLines(lines, net, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise GraphError(f"not a prototxt, at line:column {_one_line(_placed(error, text))}") from error
    except (UnicodeError, RecursionError) as error:
        raise GraphError(f"not a prototxt: {_one_line(str(error))}") from error
    if not (net.layer or net.layers):
        raise GraphError("the prototxt has no layer; give the deploy.prototxt that goes with the caffemodel")
    return net


def read_caffemodel(data: bytes | memoryview) -> Caffemodel:
    """The learned blobs, as views into `data`; raises GraphError when that is cut short or not a caffemodel.

    Only names and blobs are looked at: a caffemodel's other fields are those of a network that was trained,
    and forks add theirs.
    """
    if len(data) > MAX_BYTES:
        raise GraphError(f"the caffemodel has {len(data)} bytes, the format allows {MAX_BYTES}")
    if bytes(data[: len(_HDF5)]) == _HDF5:
        raise GraphError(
            "the caffemodel is an HDF5 file (.caffemodel.h5), only binary ones are read; write it anew with"
            " Caffe: caffe.Net(prototxt, weights, caffe.TEST).save('net.caffemodel')"
        )
    try:
        layers = tuple(_layers(Wire(data)))
        if len(data) and not layers:
            raise WireError("it holds no layer")
    except WireError as error:
        what = "text, not a caffemodel" if _is_text(data) else "not a caffemodel, or a truncated one"
        raise GraphError(f"{what} ({len(data)} bytes): {error}") from error
    return Caffemodel(layers)


def _layers(wire: Wire) -> Iterator[SavedLayer]:
    for field in wire.fields(0, len(wire.data)):
        form = _FORMS.get(field.tag)
        if form is not None:
            field.expect("a layer", LEN)
            yield _layer(wire, field, form)
        elif field.tag == _NET_NAME:
            field.expect("the network's name", LEN)


def _layer(wire: Wire, layer: Field, form: _Form) -> SavedLayer:
    name, blobs = "", []
    for field in wire.fields(layer.start, layer.end):
        if field.tag == form.name:
            field.expect("a layer's name", LEN)
            name = wire.text(field, _LONGEST_NAME)
        elif field.tag == form.blobs:
            field.expect("a blob", LEN)
            blobs.append(read_blob(wire, field.start, field.end))
        elif field.tag == _FORM_OF_2013 and form is _V1:
            raise GraphError(
                "the caffemodel has the form of 2013; pass it through Caffe's upgrade_net_proto_binary first"
            )
    return SavedLayer(name, tuple(blobs))


def _is_text(data: bytes | memoryview) -> bool:
    """Whether nothing at the beginning is a control character."""
    return _CONTROL.isdisjoint(data[:_LONGEST_NAME])


def _placed(error: ParseError, text: str) -> str:
    """The parser's message, with line and column in the text as it came, not as it was broken."""
    line = error.GetLine()
    piece = None if line is None else next(islice(pieces(text), line - 1, None), None)
    if piece is None:
        return str(error)
    reason = str(error).partition(" : ")[2]
    return f"{piece.line}:{piece.column + (error.GetColumn() or 1) - 1} : {reason}"


def _one_line(message: str) -> str:
    """The message on one line, its middle left out where it is long, nothing in it that no terminal shows."""
    line = " ".join(message.split())
    if len(line) > _LONGEST_REASON:
        line = f"{line[: _LONGEST_REASON // 2]} ... {line[-_LONGEST_REASON // 2 :]}"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
