"""Files from strangers: whatever is in them, the answer is one line."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.caffe import caffe_pb2, reading
from exporters.caffe.blobs import blob_message
from exporters.caffe.reading import read_caffemodel, read_prototxt
from exporters.caffe.source import CaffeSource
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


def _convert(text: str, model: bytes) -> None:
    """Every error but the two expected ones goes on to the test."""
    with contextlib.suppress(GraphError, ExportError):
        CaffeSource(text, model).to_onnx()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_no_caffemodel(data: bytes) -> None:
    _convert(TEXT, data)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(MODEL) - 1))
def test_a_truncated_caffemodel_is_refused(length: int) -> None:
    with pytest.raises((GraphError, ExportError)):
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
        ("layer {" * 2000, "not a prototxt, at line:column maximum recursion depth"),
        ("PK\x03\x04", "not a prototxt"),
    ],
)
def test_a_wrong_text_is_shown_where_it_is_wrong(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        read_prototxt(text)
    assert "\n" not in str(caught.value)


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


def test_a_prototxt_in_place_of_a_caffemodel_is_refused() -> None:
    with pytest.raises(GraphError, match="not a caffemodel"):
        read_caffemodel(TEXT.encode())


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
    monkeypatch.setattr(reading, "MAX_MODEL_BYTES", 10)
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
    text.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot read the Caffe model"):
        CaffeSource.from_files(text, model)
    text.write_text("layer {")
    with pytest.raises(GraphError, match=r"\.prototxt with .+: "):
        CaffeSource.from_files(text, model)
