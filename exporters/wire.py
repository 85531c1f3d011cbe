"""Protocol buffers' wire format, walked without building messages.

What nobody asks for is stepped over, and what is asked for stays where it is: a caffemodel is a few hundred
names between a gigabyte of numbers. The bytes come from strangers, so every length is checked before it is
believed, nothing recurses, and the number of steps is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from runtime.tensors import Array

VARINT, I64, LEN, I32 = 0, 1, 2, 5
"""The wire types; 3 and 4 are groups, which no file of Caffe has, 6 and 7 are none."""

MAX_BYTES = (1 << 31) - 1
"""Protocol buffers' own limit on one message."""

MAX_FIELDS = 1 << 18
"""Fields that are stepped through in one file, which takes a second; a network of 700 layers has 20 000."""

_NAMES = {VARINT: "a number", I64: "eight bytes", LEN: "bytes with a length", I32: "four bytes"}
_WIDTHS = {I64: 8, I32: 4}
_LONGEST_VARINT = 10
_FIRST_LOOK = 64


class WireError(ValueError):
    """The bytes are no message, or are cut short; says what is wrong at which byte."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field; equal ones of a fixed width that follow each other are one Field of several values.

    start, end: where the payload lies in the file; of several values, from the first to the last.
    number:     the value of a VARINT, 0 for all others.
    """

    tag: int
    wire_type: int
    start: int
    end: int
    number: int = 0

    def expect(self, what: str, *wire_types: int) -> None:
        """Raise WireError unless the field has one of these types."""
        if self.wire_type not in wire_types:
            wanted = " or ".join(_NAMES[wire_type] for wire_type in wire_types)
            raise WireError(f"{what} at byte {self.start} is {_NAMES[self.wire_type]}, expected {wanted}")


class Wire:
    """The bytes of one file, and how many fields may still be stepped through."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = memoryview(data)
        self._fields_left = MAX_FIELDS

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message that lies at start:end; raises WireError where they are none."""
        position = start
        while position < end:
            self._step()
            field = self._field(position, end)
            yield field
            position = field.end

    def varints(self, field: Field) -> Iterator[int]:
        """The values of a repeated whole number, packed or not, each from 0 to 2^64 - 1; raises WireError."""
        if field.wire_type == VARINT:
            yield field.number
            return
        position = field.start
        while position < field.end:
            self._step()
            value, position = self._varint(position, field.end)
            yield value

    def values(self, field: Field, dtype: str) -> Array:
        """The values of a repeated number of fixed width, packed or not, as a view into the file.

        Raises WireError where bytes are left over.
        """
        width = np.dtype(dtype).itemsize
        size = field.end - field.start
        if field.wire_type != LEN:  # a tag of one byte stands before each value but the first
            return np.ndarray(((size + 1) // (width + 1),), dtype, self.data, field.start, (width + 1,))
        if size % width:
            raise WireError(f"the {size} bytes of numbers at byte {field.start} are no multiple of {width}")
        return np.frombuffer(self.data, dtype, size // width, field.start)

    def text(self, field: Field, longest: int) -> str:
        """A name, what is not UTF-8 in it as escapes; raises WireError beyond `longest` bytes."""
        if field.end - field.start > longest:
            raise WireError(f"the name at byte {field.start} has {field.end - field.start} bytes")
        return str(self.data[field.start : field.end], "utf-8", "backslashreplace")

    def _step(self) -> None:
        self._fields_left -= 1
        if self._fields_left < 0:
            raise WireError(f"it has more than {MAX_FIELDS} fields; no network is that large")

    def _field(self, start: int, end: int) -> Field:
        key, position = self._varint(start, end)
        tag, wire_type = key >> 3, key & 7
        if not tag or key >> 32 or wire_type not in _NAMES:
            raise WireError(f"byte {start} begins no field of a message")
        if wire_type == VARINT:
            number, after = self._varint(position, end)
            return Field(tag, wire_type, position, after, number)
        if wire_type == LEN:
            length, position = self._varint(position, end)
            return Field(tag, wire_type, position, _checked(position, length, end))
        width = _WIDTHS[wire_type]
        after = _checked(position, width, end)
        more = self._repeats(after, end, key, width + 1) if position == start + 1 else 0
        return Field(tag, wire_type, position, after + more * (width + 1))

    def _repeats(self, start: int, end: int, key: int, stride: int) -> int:
        """How many records of `stride` bytes from `start` on begin with the byte `key`."""
        most = (end - start) // stride
        keys = np.ndarray((most,), np.uint8, self.data, start, (stride,)) if most else np.empty(0, np.uint8)
        seen, look = 0, _FIRST_LOOK
        while seen < most:
            others = np.flatnonzero(keys[seen : seen + look] != key)
            if others.size:
                return seen + int(others[0])
            seen, look = min(seen + look, most), 2 * look  # a look costs no more than what it found
        return most

    def _varint(self, start: int, end: int) -> tuple[int, int]:
        """The number that begins at `start`, and where it ends."""
        value = 0
        for index in range(_LONGEST_VARINT):
            if start + index >= end:
                raise WireError(f"it ends at byte {end}, in the middle of a number")
            byte = self.data[start + index]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return value & (1 << 64) - 1, start + index + 1
        raise WireError(f"the number at byte {start} does not end")


def _checked(start: int, length: int, end: int) -> int:
    """The end of a payload; raises WireError where that is beyond the end of what it lies in."""
    if length > end - start:
        raise WireError(f"it ends at byte {end}, {length} bytes were to follow byte {start}")
    return start + length


def signed(number: int, bits: int) -> int:
    """The value of a VARINT as the int32 or int64 that was written; an int32 is its lowest 32 bits."""
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def varint(number: int) -> bytes:
    """`number` as a VARINT is written: seven bits a byte, lowest first, the top bit says that more follow."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
