"""Blobs, in every way in which protocol buffers let them be written, beside protocol buffers and OpenCV."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings

from exporters.caffe import blobs, caffe_pb2
from exporters.caffe.blobs import blob_array
from exporters.caffe.reading import Caffemodel, SavedLayer, read_caffemodel
from exporters.caffe.source import CaffeSource
from exporters.wire import LEN, varint
from runtime.errors import GraphError
from runtime.tensors import Array
from tests.exporters.caffe.mutations import Files, binaries
from tests.exporters.caffe.networks import assert_like_opencv, caffemodel, prototxt, values

TEXT = prototxt(
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"'
    " convolution_param { num_output: 2 kernel_size: 3 } }",
    *(1, 3, 8, 8),
)
MODEL = caffemodel({"conv": [values(2, 3, 3, 3), values(2)]})


def test_values_are_looked_at_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "_PART", 7)
    weight = values(2, 3, 3, 3)
    weight.flat[[0, 6, 7, 53]] = np.nan, np.inf, -np.inf, np.nan
    with pytest.raises(GraphError, match="layer 'conv' blob 0 holds 4 NaN or infinite values"):
        CaffeSource(TEXT, caffemodel({"conv": [weight, values(2)]}))


@pytest.mark.parametrize("number", [1e39, -1e300, float("nan"), float("inf")])
def test_a_double_that_float32_cannot_hold_is_refused(number: float) -> None:
    blob = caffe_pb2.BlobProto(double_data=[number], shape={"dim": [1]})
    net = caffe_pb2.NetParameter(layer=[{"name": "conv", "blobs": [blob]}])
    with pytest.raises(GraphError, match="layer 'conv' blob 0 holds 1 NaN or infinite values"):
        CaffeSource(TEXT, net.SerializeToString())


def _singly(tag: int, kind: str, numbers: Array) -> bytes:
    wire_type = {"f": 5, "d": 1}[kind]
    return b"".join(varint(tag << 3 | wire_type) + struct.pack(f"<{kind}", number) for number in numbers.flat)


def _packed(tag: int, kind: str, numbers: Array) -> bytes:
    data = numbers.astype(f"<{kind}").tobytes() if numbers.size else b""
    return varint(tag << 3 | LEN) + varint(len(data)) + data


_OTHER = b"\x32\x04\x00\x00\x80\x3f"  # diff, which is not asked for
ENCODINGS: Mapping[str, Callable[[Array], bytes]] = {
    "packed": lambda x: _packed(5, "f", x),
    "one by one": lambda x: _singly(5, "f", x),
    "in two pieces": lambda x: _packed(5, "f", x[:5]) + _packed(5, "f", x[5:]),
    "in pieces of every kind": lambda x: (
        _packed(5, "f", x[:2]) + _OTHER + _singly(5, "f", x[2:9]) + b"\x2a\x00" + _packed(5, "f", x[9:])
    ),
    "tags longer than they need be": lambda x: b"".join(
        b"\xad\x00" + struct.pack("<f", number) for number in x.flat
    ),
    "doubles": lambda x: _packed(8, "d", x),
    "doubles one by one": lambda x: _singly(8, "d", x),
    "doubles behind floats": lambda x: (
        _packed(5, "f", 0 * x) + _packed(8, "d", x[:1]) + _singly(8, "d", x[1:])
    ),
    "floats behind no doubles": lambda x: b"\x42\x00" + _packed(5, "f", x),
    "with what training left": lambda x: _packed(6, "f", x) + _packed(5, "f", x) + _packed(9, "d", x),
}
SHAPES: Mapping[str, Callable[[tuple[int, ...]], bytes]] = {
    "shape": lambda shape: caffe_pb2.BlobProto(shape={"dim": shape}).SerializeToString(),
    "dimensions one by one": lambda shape: b"".join(b"\x3a\x02\x08" + varint(size) for size in shape),
    "four names": lambda shape: b"".join(
        varint(tag << 3) + varint(size) for tag, size in enumerate((1,) * (4 - len(shape)) + shape, start=1)
    ),
    "four names that win": lambda shape: SHAPES["shape"]((7, 7)) + SHAPES["four names"](shape),
}


def _encoded(encoding: str, shape: str, *arrays: Array) -> bytes:
    """A caffemodel of the layer `conv`, the network's name before it so that values lie at odd addresses."""
    layer = b"\x0a\x04conv"
    for array in arrays:
        blob = SHAPES[shape](array.shape) + ENCODINGS[encoding](array.ravel())
        layer += b"\x3a" + varint(len(blob)) + blob
    return b"\x0a\x03net" + varint(100 << 3 | LEN) + varint(len(layer)) + layer


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_way_to_write_a_blob_is_read_as_opencv_reads_it(encoding: str, shape: str) -> None:
    weight, bias = values(2, 3, 3, 3), values(2)
    source = CaffeSource(TEXT, _encoded(encoding, shape, weight, bias))
    assert_like_opencv(source, {"data": values(2, 3, 8, 8)})
    for blob, array in zip(source.network.layers[0].blobs, (weight, bias), strict=True):
        np.testing.assert_array_equal(blob.reshape(array.shape), array)
        assert blob.dtype == np.float32


@settings(max_examples=150, deadline=None)
@given(binaries())
def test_what_is_read_is_what_protocol_buffers_read(files: Files) -> None:
    """Names, shapes and values; they may refuse more, as they look into what is stepped over here."""
    _, data = files
    try:
        ours, theirs = read_caffemodel(data), caffe_pb2.NetParameter.FromString(data)
    except (GraphError, DecodeError):
        return
    for saved, layer in zip(_of_one_form(ours, theirs), (*theirs.layer, *theirs.layers), strict=True):
        assert (saved.name, len(saved.blobs)) == (_text(layer.name), len(layer.blobs))
        for blob, message in zip(saved.blobs, layer.blobs, strict=True):
            assert blob.shape == _shape(message)
            with np.errstate(
                invalid="ignore"
            ):  # mutations make signalling NaN, which a cast to float64 tells
                expected = np.array(message.double_data or message.data)
                got = np.concatenate([np.empty(0), *blob.values])
            np.testing.assert_array_equal(got, expected)


def _of_one_form(ours: Caffemodel, theirs: caffe_pb2.NetParameter) -> list[SavedLayer]:
    """Ours are in the order of the file, theirs form by form; only of one form alone are they compared."""
    if theirs.layer and theirs.layers:
        theirs.Clear()
        return []
    return list(ours.layers)


def _text(name: str | bytes) -> str:
    """Protocol buffers hand out what is no UTF-8 as bytes."""
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


def _shape(blob: caffe_pb2.BlobProto) -> tuple[int, ...]:
    names = ("num", "channels", "height", "width")
    if any(blob.HasField(name) for name in names):
        return tuple(getattr(blob, name) for name in names)
    return tuple(blob.shape.dim)


def test_a_blobs_values_are_not_copied() -> None:
    data = bytearray(MODEL)
    (layer,) = read_caffemodel(memoryview(data)).layers
    array = blob_array(layer.blobs[0], "weight")
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


def test_a_file_and_its_bytes_give_the_same_network(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(TEXT)
    (tmp_path / "net.caffemodel").write_bytes(MODEL)
    mapped = CaffeSource.from_files(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    feed = {"data": values(2, 3, 8, 8)}
    expected = assert_like_opencv(CaffeSource(TEXT, MODEL), feed)
    np.testing.assert_array_equal(assert_like_opencv(mapped, feed)["conv"], expected["conv"])
