"""Caffe's two files as messages: the text prototxt and the binary caffemodel.

Both come from strangers. Every way in which they can be wrong ends in one GraphError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporters.caffe.schema import schema
from runtime.errors import GraphError

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import NetParameter

MAX_TEXT_BYTES = 16 << 20
"""The largest prototxt of the originals has 0.3 MB; a text parser's memory is a multiple of the text."""

MAX_MODEL_BYTES = (1 << 31) - 1
"""Protocol buffers' own limit on one message."""


def read_prototxt(text: str) -> NetParameter:
    """The network's description; raises GraphError with line and column when the text is not one.

    Fields that the schema does not have are left out here; `text.outline` names them.
    """
    from google.protobuf import text_format

    net: NetParameter = schema().NetParameter()
    if len(text) > MAX_TEXT_BYTES:
        raise GraphError(f"the prototxt has {len(text)} characters, at most {MAX_TEXT_BYTES} are read")
    try:
        text_format.Parse(text, net, allow_unknown_field=True)
    except (text_format.ParseError, UnicodeError, RecursionError) as error:
        raise GraphError(f"not a prototxt, at line:column {_one_line(error)}") from error
    if not (net.layer or net.layers):
        raise GraphError("the prototxt has no layer; give the deploy.prototxt that goes with the caffemodel")
    return net


def read_caffemodel(data: bytes) -> NetParameter:
    """The learned blobs; raises GraphError when the bytes are truncated or not a caffemodel.

    Fields unknown to the schema are skipped here: only blobs are taken from this file, and forks add theirs.
    """
    from google.protobuf.message import DecodeError

    if len(data) > MAX_MODEL_BYTES:
        raise GraphError(f"the caffemodel has {len(data)} bytes, the format allows {MAX_MODEL_BYTES}")
    net: NetParameter = schema().NetParameter()
    try:
        net.MergeFromString(data)
    except DecodeError as error:
        raise GraphError(
            f"not a caffemodel, or a truncated one ({len(data)} bytes): {_one_line(error)}"
        ) from error
    return net


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
