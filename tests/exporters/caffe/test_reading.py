"""Files from strangers: whatever is in them, the answer is one line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.caffe import caffe_pb2, reading
from exporters.caffe.blobs import blob_message
from exporters.caffe.reading import read_caffemodel, read_files, read_prototxt
from exporters.caffe.source import CaffeSource
from exporters.wire import LEN, varint
from runtime.errors import ExportError, GraphError, UsageError
from tests.exporters.caffe.networks import caffemodel, prototxt, values
from tests.exporters.caffe.test_detection import ssd
from tests.exporters.caffe.test_regions import faster_rcnn

TEXT = prototxt(
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"'
    " convolution_param { num_output: 2 kernel_size: 3 } }"
    'layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"'
    " pooling_param { kernel_size: 2 stride: 2 } }",
    1,
    3,
    8,
    8,
)
MODEL = caffemodel({"conv": [values(2, 3, 3, 3), values(2)]})


def _convert(text: str, model: bytes | memoryview) -> None:
    """Every error but the two expected ones goes on to the test."""
    with contextlib.suppress(GraphError, ExportError):
        CaffeSource(text, model).to_onnx()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_no_caffemodel(data: bytes) -> None:
    _convert(TEXT, data)


def test_a_caffemodel_cut_short_anywhere_is_refused() -> None:
    for length in range(len(MODEL)):
        with pytest.raises((GraphError, ExportError), match=r"caffemodel"):
            CaffeSource(TEXT, MODEL[:length]).to_onnx()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 8 * len(MODEL) - 1))
def test_a_flipped_bit_in_the_caffemodel_ends_in_a_network_or_a_line(bit: int) -> None:
    damaged = bytearray(MODEL)
    damaged[bit // 8] ^= 1 << bit % 8
    _convert(TEXT, bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, len(TEXT) - 1), letter=st.characters(codec="utf-8"))
def test_a_changed_letter_in_the_prototxt_ends_in_a_network_or_a_line(position: int, letter: str) -> None:
    _convert(TEXT[:position] + letter + TEXT[position + 1 :], MODEL)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_random_text_is_no_prototxt(text: str) -> None:
    with pytest.raises(GraphError):
        read_prototxt(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name: "n"\nlayer { name: x }', "at line:column 2:15 : .*Expected string"),
        ("layer { pooling_param { pool: MEDIAN } }", 'Enum type .*PoolMethod" has no value'),
        ("layer { convolution_param { pad: -1 } }", "not a prototxt, at line:column 1:34"),
        ("layer {" * 10_000, "not a prototxt: maximum recursion depth"),
        ("fork {" * 10_000, "not a prototxt: maximum recursion depth"),
        ("{" * 10_000, "not a prototxt, at line:column 1:1 : "),
        ("PK\x03\x04", r"not a prototxt, at line:column 1:3 : 'PK\\x03\\x04'"),
        ('name: "a\x00"\nlayer { \x00 }', r"not a prototxt, at line:column 2:9 : 'layer { \\x00 }'"),
        ("\x00\n" * 2_000_000, r"not a prototxt, at line:column 1:1 : '\\x00': Expected"),
        ("a" * 4_000_000, "not a prototxt, at line:column 1:1 : a word or text of 4000000 characters"),
        ("<!DOCTYPE html>\n<html>", "not a prototxt, at line:column 1:1 : "),
    ],
    ids=range(11),
)
def test_a_wrong_text_is_shown_where_it_is_wrong(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        read_prototxt(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


def _on_one_line(text: str) -> str:
    return " ".join(line.partition("#")[0] for line in text.splitlines())


def test_a_text_on_one_long_line_says_the_same() -> None:
    layers = "".join(
        f'layer {{ name: "l{i}" type: "ReLU" bottom: "data" top: "t{i}" }}\n' for i in range(100)
    )
    text = prototxt(layers + 'layer { name: "é [ { # \\" " fork: 1 }', 1, 3)
    assert len(_on_one_line(layers)) > 5000
    assert read_prototxt(_on_one_line(layers) + text) == read_prototxt(layers + text)


@pytest.mark.parametrize("before", [10, 1000, 5000, 50_000])
def test_an_error_on_a_long_line_is_shown_where_it_is(before: int) -> None:
    text = " " * 7 + 'input: "data" ' * (before // 14)
    with pytest.raises(GraphError, match=rf"not a prototxt, at line:column 2:{len(text) + 11} : .*Expected"):
        read_prototxt(f"\n{text}layer {{ }} }} layer {{ }}")


def test_a_long_line_of_unknown_fields_takes_no_time_of_its_square() -> None:
    """Protocol buffers' own parser needs five minutes for it."""
    assert len(read_prototxt("q: 1 " * 60_000 + "layer { }").layer) == 1


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(), number=st.sampled_from(["0", "-1", "65536", "4294967295", "1e38", "1e-38", "nan", "-inf"])
)
def test_an_absurd_number_in_a_detector_ends_in_a_network_or_a_line(data: st.DataObject, number: str) -> None:
    source = data.draw(st.sampled_from([ssd(), faster_rcnn()]))
    numbers = list(re.finditer(r"(?<= )-?\d+(\.\d+)?\b", source.prototxt))
    place = data.draw(st.sampled_from(numbers))
    _convert(source.prototxt[: place.start()] + number + source.prototxt[place.end() :], source.caffemodel)


def test_deeply_nested_groups_are_refused() -> None:
    start_group, end_group = b"\x0b", b"\x0c"
    with pytest.raises(GraphError, match=r"not a caffemodel, or a truncated one \(20000 bytes\)"):
        read_caffemodel(start_group * 10_000 + end_group * 10_000)


def _nested(tag: bytes, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = tag + varint(len(data)) + data
    return data


def test_deeply_nested_messages_are_no_network() -> None:
    """A V1 layer can hold a V0 layer and nothing that holds itself; what else is nested is stepped over."""
    with pytest.raises(GraphError, match="the caffemodel has the form of 2013"):
        read_caffemodel(
            _nested(b"\x12", 1) + b"\x12" + varint(len(_nested(b"\x0a", 9999))) + _nested(b"\x0a", 9999)
        )
    with pytest.raises(GraphError, match="it holds no layer"):
        read_caffemodel(_nested(b"\x52", 10_000))


NO_CAFFEMODELS: Mapping[str, tuple[bytes, str]] = {
    "prototxt": (TEXT.encode(), r"text, not a caffemodel \(\d+ bytes\): "),
    "pointer to a file elsewhere": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 240\n",
        r"text, not a caffemodel \(\d+ bytes\): ",
    ),
    "HDF5": (
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        r"an HDF5 file .*caffe\.Net\(.*\)\.save\('net\.caffemodel'\)",
    ),
    "mean image": (
        blob_message(values(1, 3, 2, 2)).SerializeToString(),
        "not a caffemodel, or a truncated one .*: it holds no layer",
    ),
    "ONNX": (
        b"\x08\x0a\x12\x04test",
        "the network's name at byte 1 is a number, expected bytes with a length",
    ),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(20), "not a caffemodel, or a truncated one"),
    "name of a megabyte": (
        caffe_pb2.NetParameter(layer=[{"name": "n" * (1 << 20)}]).SerializeToString(),
        "the name at byte 9 has 1048576 bytes",
    ),
    "more dimensions than Caffe knows": (
        caffe_pb2.NetParameter(
            layer=[{"name": "a", "blobs": [{"data": [1], "shape": {"dim": [1] * 33}}]}]
        ).SerializeToString(),
        "the shape of the blob at byte 8 has more than 32 dimensions",
    ),
    "layers that are numbers": (varint(100 << 3) + b"\x01", "a layer at byte 2 is a number, expected bytes"),
    "blobs that are numbers": (
        varint(100 << 3 | LEN) + b"\x02\x38\x01",
        "a blob at byte 4 is a number, expected bytes with a length",
    ),
    "data that is a number": (
        varint(100 << 3 | LEN) + b"\x04\x3a\x02\x28\x01",
        "a blob's data at byte 6 is a number, expected bytes with a length or four bytes",
    ),
    "data of half a value": (
        varint(100 << 3 | LEN) + b"\x05\x3a\x03\x2a\x01\x00",
        "the 1 bytes of numbers at byte 7 are no multiple of 4",
    ),
}


@pytest.mark.parametrize("case", NO_CAFFEMODELS)
def test_what_is_no_caffemodel_is_refused_with_its_reason(case: str) -> None:
    data, message = NO_CAFFEMODELS[case]
    with pytest.raises(GraphError, match=message) as caught:
        read_caffemodel(data)
    assert str(caught.value).isprintable()


def test_many_dimensions_that_are_packed_are_not_counted_to_the_end() -> None:
    shape = b"\x0a" + varint(1 << 20) + b"\x01" * (1 << 20)
    blob = b"\x3a" + varint(len(shape)) + shape
    layer = b"\x3a" + varint(len(blob)) + blob
    with pytest.raises(GraphError, match="has more than 32 dimensions"):
        read_caffemodel(varint(100 << 3 | LEN) + varint(len(layer)) + layer)


@pytest.mark.parametrize("dims", [[1 << 62, 1 << 62], [-2, -27], [55], [0], [2, 3, 3, 3, 1 << 31]], ids=str)
def test_a_shape_that_the_values_do_not_fill_is_refused(dims: list[int]) -> None:
    net = caffe_pb2.NetParameter()
    blob = net.layer.add(name="conv").blobs.add()
    blob.CopyFrom(blob_message(values(54)))
    blob.shape.dim[:] = dims
    with pytest.raises(GraphError, match=r"layer 'conv' blob 0: shape .* values, the file holds 54"):
        CaffeSource(TEXT, net.SerializeToString())


def test_weights_that_are_no_numbers_are_refused() -> None:
    weight = values(2, 3, 3, 3)
    weight[0, 0, 0, :2] = np.nan, np.inf
    with pytest.raises(GraphError, match="layer 'conv' blob 0 holds 2 NaN or infinite values"):
        CaffeSource(TEXT, caffemodel({"conv": [weight, values(2)]}))


def test_huge_dimensions_in_a_prototxt_cost_no_memory() -> None:
    text = prototxt('layer { name: "r" type: "ReLU" bottom: "data" top: "o" }', 1, 1 << 31, 1 << 31, 1 << 31)
    with pytest.raises(GraphError, match=r"input 'data' has shape .* at most 2147483647 values"):
        CaffeSource(text, b"")


def test_a_layer_that_would_make_a_huge_blob_is_refused() -> None:
    text = prototxt(
        'layer { name: "pad" type: "Deconvolution" bottom: "data" top: "o"'
        " convolution_param { num_output: 1 kernel_size: 1 stride: 60000 bias_term: false } }",
        *(1, 1, 3, 3),
    )
    with pytest.raises(ExportError, match=r"layer 'pad' \(Deconvolution\).* at most 2147483647 values"):
        CaffeSource(text, caffemodel({"pad": [values(1, 1, 1, 1)]})).to_onnx()


def test_files_over_the_limits_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_TEXT_BYTES", 10)
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    with pytest.raises(GraphError, match="at most 10 are read"):
        read_prototxt(TEXT)
    with pytest.raises(GraphError, match="the format allows 10"):
        read_caffemodel(MODEL)


def test_both_files_are_read_from_disk(tmp_path: Path) -> None:
    text, model = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    text.write_text(TEXT)
    model.write_bytes(MODEL)
    assert CaffeSource.from_files(text, model).parameters == 56
    with pytest.raises(UsageError, match=r"cannot read the Caffe model .*none\.caffemodel.*No such file"):
        CaffeSource.from_files(text, tmp_path / "none.caffemodel")
    text.write_text("layer {")
    with pytest.raises(GraphError, match=r"\.prototxt with .+: "):
        CaffeSource.from_files(text, model)


NO_FILES: Mapping[str, tuple[bytes, bytes, str]] = {
    "no UTF-8": (
        b'name: "\xe9"',
        MODEL,
        "byte 7 of the prototxt is no UTF-8; save it as UTF-8, or give the two",
    ),
    "UTF-16": (TEXT.encode("utf-16"), MODEL, "byte 0 of the prototxt is no UTF-8"),
    "prototxt too large": (
        b" " * (5 << 20),
        MODEL,
        "the prototxt has 5242880 bytes, at most 4194304 are read",
    ),
    "caffemodel empty": (TEXT.encode(), b"", "the caffemodel is empty; copy it again"),
}


@pytest.mark.parametrize("case", NO_FILES)
def test_files_that_are_neither_are_refused(case: str, tmp_path: Path) -> None:
    text, model, message = NO_FILES[case]
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "model").write_bytes(model)
    with pytest.raises(UsageError, match=rf"cannot read the Caffe model .*text with .*model: {message}"):
        read_files(tmp_path / "text", tmp_path / "model")


def test_an_empty_prototxt_and_files_given_the_wrong_way_round_are_refused(tmp_path: Path) -> None:
    text, model = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    text.touch()
    model.write_bytes(MODEL)
    with pytest.raises(GraphError, match="the prototxt has no layer"):
        CaffeSource.from_files(text, model)
    text.write_text(TEXT)
    with pytest.raises((GraphError, UsageError), match=r"prototxt"):
        CaffeSource.from_files(model, text)


def test_a_mark_of_the_byte_order_before_the_prototxt_is_stepped_over(tmp_path: Path) -> None:
    """Windows' editor puts it there, and Caffe's parser steps over it."""
    (tmp_path / "text").write_text(TEXT, encoding="utf-8-sig")
    (tmp_path / "model").write_bytes(MODEL)
    source = CaffeSource.from_files(tmp_path / "text", tmp_path / "model")
    assert (source.parameters, source.warnings) == (56, ())
