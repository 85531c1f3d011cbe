"""Caffe's files as strangers may send them: sound ones damaged, and networks of layers drawn by lot."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from exporters.caffe import caffe_pb2
from exporters.caffe.layers import LAYERS
from exporters.caffe.source import CaffeSource
from exporters.wire import LEN, Wire, WireError, varint
from runtime.errors import ExportError, HarnessError
from runtime.tensors import Array
from tests.exporters.caffe.networks import caffemodel, prototxt, values
from tests.exporters.caffe.test_detection import ssd
from tests.exporters.caffe.test_network import V1
from tests.exporters.caffe.test_regions import faster_rcnn

Files = tuple[str, bytes]

_ONE_OF_EACH = prototxt(
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { name: "w" }'
    " convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }"
    'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" include { phase: TEST } }'
    'layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }'
    'layer { name: "again" type: "Convolution" bottom: "conv" top: "again" param { name: "w" }'
    " convolution_param { num_output: 3 kernel_size: 3 } }"
    'layer { name: "fc" type: "InnerProduct" bottom: "again" top: "fc"'
    " inner_product_param { num_output: 4 } }",
    *(1, 3, 6, 6),
)
_BLOBS = {
    "conv": [values(3, 3, 3, 3), values(3)],
    "bn": [values(3), values(3) ** 2, values(1)],
    "scale": [values(3), values(3)],
    "again": [values(3, 3, 3, 3), values(3)],
    "fc": [values(4, 48), values(4)],
}


@cache
def sound() -> tuple[Files, ...]:
    """Networks to begin with."""
    detectors = [(source.prototxt, bytes(source.caffemodel)) for source in (ssd(), faster_rcnn())]
    old = caffe_pb2.NetParameter()
    for layer in caffe_pb2.NetParameter.FromString(caffemodel({"fc": [values(4, 60), values(4)]})).layer:
        old.layers.add(name=layer.name, type="INNER_PRODUCT", blobs=layer.blobs)
    return (
        (_ONE_OF_EACH, caffemodel(_BLOBS)),
        (prototxt(V1, 1, 3, 5, 6), old.SerializeToString()),
        *detectors,
    )


def answer(text: str, weights: bytes) -> None:
    """Read and convert; whatever is no HarnessError goes on to the caller."""
    try:
        CaffeSource(text, weights).to_onnx()
    except HarnessError as error:
        if "\n" in str(error) or len(str(error)) > 5000:
            raise AssertionError(f"the error is more than one line: {error}") from error


# Texts

_TOKENS = re.compile(r'"[^"\n]*"|[\w.+-]+|\S|\s+')
_NUMBERS = ["0", "1", "2", "3", "7", "-1", "-2", "0.5", "1e-38", "nan", "-inf", "65536", "2147483647"]
_NUMBERS += ["4294967295", "-2147483648", "1e38", "0x7fffffffffffffff", "99999999999999999999", "1.5f"]
_ODD = [*"{}<>[]:,;\"'#\\\x00\ufeffé\n", "[x.y/z]"]


@cache
def _words() -> list[str]:
    """What a prototxt is made of: names of fields, of enumerated values, of layer types."""
    words = {f'"{name}"' for name in LAYERS}
    for message in caffe_pb2.DESCRIPTOR.message_types_by_name.values():
        words |= set(message.fields_by_name) | set(message.enum_values_by_name)
    return sorted(words)


@st.composite
def texts(draw: st.DrawFn) -> Files:
    """A sound network whose prototxt was changed in a few places."""
    text, weights = draw(st.sampled_from(sound()))
    tokens = _TOKENS.findall(text)
    for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
        change = draw(st.sampled_from([_other_token, _other_token, _cut, _twice, _swapped]))
        tokens = change(draw, tokens) or ["layer"]
    return "".join(tokens), weights


def _other_token(draw: st.DrawFn, tokens: list[str]) -> list[str]:
    """One of its kind more often than not, so that the damage comes to light as late as possible."""
    place = draw(st.integers(0, len(tokens) - 1))
    kind = _kind(tokens[place])
    alike = [token for token in tokens if _kind(token) == kind] + (_NUMBERS if kind == "number" else [])
    new = draw(st.sampled_from(draw(st.sampled_from([alike, alike, alike, _NUMBERS, _words(), _ODD]))))
    return [*tokens[:place], new, *tokens[place + 1 :]]


def _kind(token: str) -> str:
    if re.fullmatch(r"-?[\d.]+", token):
        return "number"
    return "word" if token.isidentifier() else token[0]


def _part(draw: st.DrawFn, tokens: Sequence[str]) -> tuple[int, int]:
    """Mostly a field with its value or its braces, else any few tokens."""
    start = draw(st.sampled_from([0, *(place for place, token in enumerate(tokens) if token.isidentifier())]))
    if not draw(st.integers(0, 3)):
        return start, min(start + draw(st.sampled_from([1, 2, 8])), len(tokens))
    end, depth = start + 1, 0
    while end < len(tokens) and (depth or not tokens[end].isidentifier()):
        depth += (tokens[end] == "{") - (tokens[end] == "}")
        if depth < 0:
            break
        end += 1
    return start, end


def _cut(draw: st.DrawFn, tokens: list[str]) -> list[str]:
    start, end = _part(draw, tokens)
    return tokens[:start] + tokens[end:]


def _twice(draw: st.DrawFn, tokens: list[str]) -> list[str]:
    start, end = _part(draw, tokens)
    place = draw(st.sampled_from([start, _part(draw, tokens)[0]]))
    return tokens[:place] + tokens[start:end] * draw(st.sampled_from([1, 1, 1, 50])) + tokens[place:]


def _swapped(draw: st.DrawFn, tokens: list[str]) -> list[str]:
    one, other = sorted((_part(draw, tokens), _part(draw, tokens)))
    if one[1] > other[0]:
        return tokens[: one[0]] + tokens[other[0] :]
    return [
        *tokens[: one[0]],
        *tokens[other[0] : other[1]],
        *tokens[one[1] : other[0]],
        *tokens[one[0] : one[1]],
        *tokens[other[1] :],
    ]


# Networks


@st.composite
def networks(draw: st.DrawFn) -> str:
    """Layers of any type with any parameters, over inputs of any shape, connected by lot."""
    net = caffe_pb2.NetParameter(name="net")
    blobs = ["a", "b"]
    for name in blobs:
        net.input.append(name)
        net.input_shape.add(dim=draw(st.lists(st.integers(1, 9), min_size=1, max_size=5)))
    for index in range(draw(st.integers(1, 4))):
        layer = net.layer.add(name=f"l{index}", type=draw(st.sampled_from(sorted(LAYERS))))
        least, most = LAYERS[layer.type].bottoms
        count = draw(st.integers(least, min(most, least + 2)))
        layer.bottom.extend(draw(st.sampled_from(blobs)) for _ in range(count))
        tops = [f"t{index}{top}" for top in range(draw(st.sampled_from([1, 1, 1, 2, 3])))]
        layer.top.extend(tops)
        blobs += tops
        _fill(draw, layer, _parameters(layer.type))
    return str(text_format.MessageToString(net))


@cache
def _parameters(layer_type: str) -> list[FieldDescriptor]:
    """The layer's message of parameters, as far as its name tells which it is."""
    plain = re.sub("[^a-z]", "", layer_type.lower())
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    own = [field for field in fields if field.name.endswith("_param")]
    near = [field for field in own if re.sub("_|param", "", field.name) in (plain, plain[:4], plain[-3:])]
    return near or own


def _fill(draw: st.DrawFn, message: Message, fields: Sequence[FieldDescriptor], depth: int = 0) -> None:
    for field in fields:
        if not draw(st.booleans()):
            continue
        times = draw(st.integers(1, 3)) if field.is_repeated else 1
        for _ in range(times):
            if field.message_type is not None:
                target = getattr(message, field.name)
                part = target.add() if field.is_repeated else target
                part.SetInParent()
                _fill(draw, part, field.message_type.fields if depth < 2 else (), depth + 1)
            elif field.is_repeated:
                getattr(message, field.name).append(draw(_scalars(field)))
            else:
                setattr(message, field.name, draw(_scalars(field)))


def _scalars(field: FieldDescriptor) -> st.SearchStrategy[object]:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.cpp_type == field.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == field.CPPTYPE_STRING:
        return st.sampled_from(["", "a", "rpn.proposal_layer", "ProposalLayer", "'feat_stride': 16"])
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        absurd = st.sampled_from([0.0, -1.0, 1e-30, 1e30, 3e38, 1e9, -1e-6])
        return st.one_of(st.sampled_from([0.5, 1.0, 2.0, 16.0]), absurd)
    least = 0 if field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64) else -3
    absurd = st.sampled_from([least, 1000, 65535, (1 << 31) - 1])
    return st.one_of(st.integers(max(least, 0), 4), st.integers(least, 9), absurd)


_MISSING = re.compile(r"layer '(l\d+)'.* blob (\d+) \([^[]*\[([\d, ]*)\]\) is missing")


def with_weights(text: str) -> Files:
    """The network with the blobs that it asks for, as far as it says in its complaints."""
    blobs: dict[str, list[Array]] = {}
    with contextlib.suppress(Exception):  # what is no complaint is found again by `answer`
        for _ in range(12):
            try:
                CaffeSource(text, caffemodel(blobs)).to_onnx()
            except ExportError as error:
                layer, index, shape = _wanted(str(error))
                if len(blobs.setdefault(layer, [])) != index or prod(shape) > 10_000:
                    break
                blobs[layer].append(np.abs(values(*shape)))
            else:
                break
    return text, caffemodel(blobs)


def _wanted(complaint: str) -> tuple[str, int, list[int]]:
    found = _MISSING.search(complaint)
    if found is None:
        raise ValueError(complaint)
    return found[1], int(found[2]), [int(size) for size in found[3].split(",") if size]


# Caffemodels

Tree = list["tuple[int, bytes | Tree]"]
"""A message as its fields: key, and the payload with its length still to be put before it."""

_VARINTS = [varint(number) for number in (0, 1, 2, 5, 127, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)]
_PAYLOADS = [b"", b"\x01", b"\x00\x00\x80\x3f", b"\x00" * 8, b"\xff" * 12, *_VARINTS]
_KEYS = [0x2D, 0x41, 0x2A, 0x42, 0x3A, 0x08, 0x0A, 0x12, 0x20, 0x22, 0x32, 0x0322, 0x0B, 0x07, 0x10FFFFFFFF]


@st.composite
def binaries(draw: st.DrawFn) -> Files:
    """A sound network whose caffemodel was changed in a few places."""
    text, data = draw(st.sampled_from(sound()))
    tree = _tree(data, 0, len(data), 3)
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 4]))):
        _change(draw, tree)
    data = _written(tree) or b"\x00"
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        data = draw(st.sampled_from([_cut_short, _other_bytes]))(draw, data) or b"\x00"
    return text, data


def _tree(data: bytes, start: int, end: int, depth: int) -> Tree:
    """Numbers that can be read as a message are read as one, and written as what they were."""
    found: Tree = []
    for field in Wire(data).fields(start, end):
        payload: bytes | Tree = data[field.start : field.end]
        if field.wire_type == LEN and depth:
            with contextlib.suppress(WireError):
                payload = _tree(data, field.start, field.end, depth - 1)
        found.append((field.tag << 3 | field.wire_type, payload))
    return found


def _written(tree: Tree) -> bytes:
    parts = []
    for key, payload in tree:
        inside = payload if isinstance(payload, bytes) else _written(payload)
        parts.append(varint(key) + (varint(len(inside)) if key & 7 == LEN else b"") + inside)
    return b"".join(parts)


def _change(draw: st.DrawFn, tree: Tree) -> None:
    """Take out, double, empty, rename or add one field of one message."""
    message, place = _field_in(draw, tree)
    if place is None:
        message.append((draw(st.sampled_from(_KEYS)), draw(st.sampled_from(_PAYLOADS))))
        return
    key, payload = _frozen(message[place])
    new_key, new_payload = draw(st.sampled_from(_KEYS)), draw(st.sampled_from(_PAYLOADS))
    message[place : place + 1] = draw(
        st.sampled_from(
            [
                [],
                [(key, payload)] * 2,
                [(key, payload)] * (1000 if len(payload) < 1000 else 2),
                [(key, new_payload)],
                [(new_key, payload)],
                [(key, payload), (new_key, new_payload)],
                [(key, payload), _drawn(draw, tree)],
            ]
        )
    )


def _field_in(draw: st.DrawFn, message: Tree) -> tuple[Tree, int | None]:
    if not message:
        return message, None
    place = draw(st.integers(0, len(message) - 1))
    payload = message[place][1]
    if isinstance(payload, list) and draw(st.integers(0, 3)):
        return _field_in(draw, payload)
    return message, place


def _drawn(draw: st.DrawFn, tree: Tree) -> tuple[int, bytes | Tree]:
    message, place = _field_in(draw, tree)
    return (8, b"\x01") if place is None else _frozen(message[place])


def _frozen(field: tuple[int, bytes | Tree]) -> tuple[int, bytes | Tree]:
    """The field as bytes, which may stand in several places; a list would then be changed in all of them."""
    key, payload = field
    return key, payload if isinstance(payload, bytes) else _written(payload)


def _cut_short(draw: st.DrawFn, data: bytes) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _other_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    place = draw(st.integers(0, len(data) - 1))
    new = draw(st.one_of(st.sampled_from(_VARINTS), st.binary(min_size=1, max_size=4)))
    return data[:place] + new + data[place + len(new) :]
