"""The walk over a message's bytes, beside protocol buffers' own parser and encoder."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters import wire
from exporters.caffe import caffe_pb2
from exporters.wire import I32, I64, LEN, VARINT, Wire, WireError, signed, varint


def fields(data: bytes) -> list[wire.Field]:
    return list(Wire(data).fields(0, len(data)))


@given(st.integers(0, (1 << 64) - 1))
def test_a_number_is_written_as_protocol_buffers_write_it(number: int) -> None:
    message = caffe_pb2.BlobShape.FromString(b"\x08" + varint(number))
    assert list(message.dim) == [signed(number, 64)]
    packed = b"\x0a" + varint(len(varint(number))) + varint(number)
    assert caffe_pb2.BlobShape.FromString(packed).SerializeToString() == packed
    assert [(field.tag, field.number) for field in fields(b"\x08" + varint(number))] == [(1, number)]


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_an_int32_is_read_as_it_was_written(number: int) -> None:
    (field,) = fields(caffe_pb2.BlobProto(num=number).SerializeToString())
    assert signed(field.number, 32) == number


def test_an_int32_of_five_bytes_is_its_lowest_32_bits() -> None:
    data = b"\x08" + varint((1 << 32) - 1)
    assert signed(fields(data)[0].number, 32) == caffe_pb2.BlobProto.FromString(data).num == -1


def test_every_kind_of_field_is_found_where_it_lies() -> None:
    data = (
        b"\x08\x96\x01" + b"\x12\x03abc" + b"\x1d" + struct.pack("<f", 1.5) + b"\x21" + struct.pack("<d", 2.5)
    )
    found = [(field.tag, field.wire_type, data[field.start : field.end]) for field in fields(data)]
    assert found == [
        (1, VARINT, b"\x96\x01"),
        (2, LEN, b"abc"),
        (3, I32, struct.pack("<f", 1.5)),
        (4, I64, struct.pack("<d", 2.5)),
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"\x2d", b"\x35", b"\xad\x00"]), st.integers(1, 300)), max_size=6))
def test_single_floats_that_follow_each_other_are_one_field(runs: list[tuple[bytes, int]]) -> None:
    """Fields 5 and 6 of a BlobProto; the third tag is field 5 written in a byte more than it needs."""
    numbers = iter(np.arange(2000, dtype="<f4"))
    data = b"".join(tag + next(numbers).tobytes() for tag, count in runs for _ in range(count))
    walk = Wire(data)
    found: dict[int, list[float]] = {5: [], 6: []}
    for field in walk.fields(0, len(data)):
        found[field.tag] += walk.values(field, "<f4").tolist()
    blob = caffe_pb2.BlobProto.FromString(data)
    assert found == {5: list(blob.data), 6: list(blob.diff)}


def test_values_are_views_wherever_they_lie() -> None:
    data = bytes(3) + np.arange(4, dtype="<f4").tobytes()
    values = Wire(data).values(wire.Field(5, LEN, 3, len(data)), "<f4")
    assert values.tolist() == [0, 1, 2, 3]
    assert np.shares_memory(values, np.frombuffer(data, np.uint8))
    assert not values.flags.writeable


BROKEN = {
    "tag cut short": (b"\x08\x01\x80", "it ends at byte 3, in the middle of a number"),
    "number cut short": (b"\x08\xff", "it ends at byte 2, in the middle of a number"),
    "number without end": (b"\x08" + b"\xff" * 11, "the number at byte 1 does not end"),
    "length cut short": (b"\x12", "it ends at byte 1, in the middle of a number"),
    "length beyond the end": (b"\x12\x05abc", "it ends at byte 5, 5 bytes were to follow byte 2"),
    "absurd length": (b"\x12" + varint((1 << 64) - 1), "it ends at byte 11, 18446744073709551615 bytes"),
    "float cut short": (b"\x2d\x00\x00\x80", "it ends at byte 4, 4 bytes were to follow byte 1"),
    "second float cut short": (b"\x2d\x00\x00\x80\x3f\x2d\x00", "it ends at byte 7, 4 bytes .* byte 6"),
    "double cut short": (b"\x41" + b"\x00" * 7, "it ends at byte 8, 8 bytes were to follow byte 1"),
    "field 0": (b"\x00\x01", "byte 0 begins no field of a message"),
    "group": (b"\x0b\x0c", "byte 0 begins no field of a message"),
    "end of a group": (b"\x08\x01\x0c", "byte 2 begins no field of a message"),
    "wire type 6": (b"\x0e", "byte 0 begins no field of a message"),
    "tag beyond 32 bits": (varint(1 << 35 | 2) + b"\x00", "byte 0 begins no field of a message"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_message_is_refused_with_the_byte(case: str) -> None:
    data, message = BROKEN[case]
    with pytest.raises(WireError, match=message):
        fields(data)


@pytest.mark.parametrize("case", sorted(set(BROKEN) - {"group"}))
def test_protocol_buffers_refuse_it_too(case: str) -> None:
    """But for groups, which they know and no file of Caffe has."""
    with pytest.raises(DecodeError):
        caffe_pb2.BlobProtoVector.FromString(BROKEN[case][0])


def test_numbers_that_leave_bytes_over_are_refused() -> None:
    (field,) = fields(b"\x2a\x05abcde")
    with pytest.raises(WireError, match="the 5 bytes of numbers at byte 2 are no multiple of 4"):
        Wire(b"\x2a\x05abcde").values(field, "<f4")


def test_a_field_of_the_wrong_kind_is_named() -> None:
    (field,) = fields(b"\x08\x01")
    with pytest.raises(
        WireError, match="a layer at byte 1 is a number, expected bytes with a length or four"
    ):
        field.expect("a layer", LEN, I32)


def test_names_are_text_whatever_they_hold() -> None:
    data = b"\x0a\x04\xc3\xa9\xff\x00"
    (field,) = fields(data)
    assert Wire(data).text(field, longest=4) == "é\\xff\x00"
    with pytest.raises(WireError, match="the name at byte 2 has 4 bytes"):
        Wire(data).text(field, longest=3)


def test_the_number_of_steps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FIELDS", 10)
    assert len(fields(b"\x08\x01" * 10)) == 10
    with pytest.raises(WireError, match="it has more than 10 fields; no network is that large"):
        fields(b"\x08\x01" * 11)
    walk = Wire(b"\x01" * 11)
    with pytest.raises(WireError, match="more than 10 fields"):
        list(walk.varints(wire.Field(1, LEN, 0, 11)))
    assert len(fields(b"\x2d\x00\x00\x80\x3f" * 1000)) == 1
