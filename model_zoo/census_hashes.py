"""TensorFlow's hashed and crossed columns, without TensorFlow.

Words hash by FarmHash's Fingerprint64 (Pike, "FarmHash"), which tf.strings.to_hash_bucket_fast uses; a cross
joins the hashes of its columns, one after the other, onto a key (tf.sparse.cross_hashed). Both are what a
trained table of buckets is numbered by, so they can be no other functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from runtime.errors import UsageError

_BITS = 64
_MASK = (1 << _BITS) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F

_CROSS_KEY = 0xDECAFCAFFE
_CROSS_FACTOR = 0xC6A4A7935BD1E995

LONGEST = 32
"""Bytes of a word; FarmHash goes on otherwise for longer ones, and the census has none above 21."""


def bucket_of(word: str, buckets: int) -> int:
    """The bucket of a word in a hashed column; raises UsageError as `fingerprint` does."""
    return fingerprint(word) % buckets


def crossed_bucket_of(values: Sequence[str | int], buckets: int) -> int:
    """The bucket of a crossed column: a word counts by its fingerprint, a number as it is."""
    joined = _CROSS_KEY
    for value in values:
        joined = _join(joined, value if isinstance(value, int) else fingerprint(value))
    return joined % buckets


@cache
def fingerprint(word: str) -> int:
    """Fingerprint64 of a word in UTF-8; raises UsageError for one of more than 32 bytes."""
    text = word.encode()
    if len(text) > LONGEST:
        raise UsageError(f"the word {word[:40]!r} has {len(text)} bytes; expected at most {LONGEST} to hash")
    if len(text) > 16:
        return _seventeen_or_more(text)
    if len(text) >= 8:
        return _eight_or_more(text)
    if len(text) >= 4:
        factor = _K2 + 2 * len(text)
        return _mix(len(text) + (_number(text[:4]) << 3), _number(text[-4:]), factor)
    if text:
        low = text[0] + (text[len(text) >> 1] << 8)
        high = len(text) + (text[-1] << 2)
        return _times(_shifted(((low * _K2) ^ (high * _K0)) & _MASK), _K2)
    return _K2


def _eight_or_more(text: bytes) -> int:
    factor = _K2 + 2 * len(text)
    first, last = (_number(text[:8]) + _K2) & _MASK, _number(text[-8:])
    return _mix(
        (_rotated(last, 37) * factor + first) & _MASK,
        _times(_rotated(first, 25) + last, factor),
        factor,
    )


def _seventeen_or_more(text: bytes) -> int:
    factor = _K2 + 2 * len(text)
    first, second = _times(_number(text[:8]), _K1), _number(text[8:16])
    last, before = _times(_number(text[-8:]), factor), _times(_number(text[-16:-8]), _K2)
    return _mix(
        (_rotated((first + second) & _MASK, 43) + _rotated(last, 30) + before) & _MASK,
        (first + _rotated((second + _K2) & _MASK, 18) + last) & _MASK,
        factor,
    )


def _join(first: int, second: int) -> int:
    """TensorFlow's FingerprintCat64."""
    joined = first ^ _CROSS_FACTOR ^ _times(_shifted(_times(second, _CROSS_FACTOR)), _CROSS_FACTOR)
    return _shifted(_times(_shifted(_times(joined, _CROSS_FACTOR)), _CROSS_FACTOR))


def _mix(first: int, second: int, factor: int) -> int:
    inner = _shifted(_times(first ^ second, factor))
    return _times(_shifted(_times(second ^ inner, factor)), factor)


def _times(first: int, second: int) -> int:
    return (first * second) & _MASK


def _shifted(value: int) -> int:
    return value ^ (value >> 47)


def _rotated(value: int, by: int) -> int:
    return ((value >> by) | (value << (_BITS - by))) & _MASK


def _number(text: bytes) -> int:
    return int.from_bytes(text, "little")
