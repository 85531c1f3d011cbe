"""Seeded tensors, against Philox written out in plain integers and against fixed digests."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from model_zoo.seeded import seeded_normal, seeded_uniform

_MASK = 2**64 - 1


def _philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x64-10 as in the paper's section 3.3, with its published constants."""
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = (
            (high >> 64) ^ counter[1] ^ key[0],
            high & _MASK,
            (low >> 64) ^ counter[3] ^ key[1],
            low & _MASK,
        )
        key = (key[0] + 0x9E3779B97F4A7C15 & _MASK, key[1] + 0xBB67AE8584CAA73B & _MASK)
    return counter


def _words(name: str, seed: int, number: int) -> list[int]:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    key = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little"))
    blocks = [_philox((block + 1, 0, 0, 0), key) for block in range(-(-number // 4))]
    return [word for block in blocks for word in block][:number]


def test_the_oracle_gives_the_authors_known_answer() -> None:
    """Random123's kat_vectors: philox4x64, 10 rounds, counter and key all zero."""
    known = (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)
    assert _philox((0, 0, 0, 0), (0, 0)) == known


def test_normal_is_the_normalised_sum_of_four_16_bit_integers() -> None:
    words = _words("conv1/kernel", 7, 10)
    sums = [sum(word >> shift & 0xFFFF for shift in (0, 16, 32, 48)) - 2 * 0xFFFF for word in words]
    scale = np.float32(1 / math.sqrt((2**32 - 1) / 3))
    expected = np.array([np.float32(total) * scale for total in sums], np.float32)
    np.testing.assert_array_equal(seeded_normal("conv1/kernel", (10,), seed=7), expected)


def test_uniform_is_the_upper_24_bits() -> None:
    expected = [0.5 + (word >> 40) / 2**24 for word in _words("gamma", 0, 6)]
    np.testing.assert_allclose(seeded_uniform("gamma", (6,), 0.5, 1.5), expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("array", "digest"),
    [
        (seeded_normal("a", (3, 50_000)), "1bb85d2de172becde38090fde01a4bb65221ee24532ce131b97f9f8b25307938"),
        (
            seeded_uniform("a", (100_001,), -0.3, 0.2),
            "8f63a79f229ded12a52644b73c4551ceba3f5838924d80d08fc11ffcd58b0dcd",
        ),
    ],
    ids=["normal", "uniform"],
)
def test_bytes_are_the_same_everywhere(
    array: np.ndarray[tuple[int, ...], np.dtype[np.float32]], digest: str
) -> None:
    """Recorded once; a machine or NumPy version that gives others cannot prove it ran the same graph."""
    assert hashlib.sha256(array.astype("<f4").tobytes()).hexdigest() == digest


def test_moments_are_those_of_a_normal() -> None:
    values = seeded_normal("moments", (400_000,)).astype(np.float64)
    assert abs(values.mean()) < 0.005
    assert abs(values.std() - 1) < 0.005
    assert abs((values**4).mean() - 2.7) < 0.03
    assert np.abs(values).max() <= 2 * 0xFFFF / math.sqrt((2**32 - 1) / 3)


def test_uniform_stays_within_its_bounds_and_fills_them() -> None:
    values = seeded_uniform("bounds", (100_000,), 0.1, 0.3)
    assert values.min() >= np.float32(0.1)
    assert values.max() <= np.float32(0.3)
    counts, _ = np.histogram(values, bins=10, range=(0.1, 0.3))
    assert counts.min() > 9_500


def test_names_and_seeds_choose_unrelated_streams() -> None:
    first = seeded_normal("a", (10_000,))
    for other in (seeded_normal("b", (10_000,)), seeded_normal("a", (10_000,), seed=1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.05


def test_a_longer_tensor_starts_with_the_shorter_one() -> None:
    """Chunks are an implementation detail that must not show."""
    np.testing.assert_array_equal(
        seeded_normal("a", (200_000,))[:70_000], seeded_normal("a", (70_000,)), strict=True
    )
    assert seeded_normal("a", ()).shape == ()
    assert seeded_normal("a", (0, 3)).shape == (0, 3)
