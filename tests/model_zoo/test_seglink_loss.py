"""What SegLink learns by, held against equation 6 of Shi et al. 2017, followed number by number."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.tensors import Array

tf = pytest.importorskip("tensorflow")


def mined(scores: Array, wanted: Array) -> float:
    """Of each image the positive ones, and of the negative ones the worst three for each of those."""
    total = 0.0
    for image, flags in zip(scores.astype(float), wanted.tolist(), strict=True):
        entropies = [
            float(np.log(np.exp(row).sum()) - row[flag]) for row, flag in zip(image, flags, strict=True)
        ]
        negatives = sorted(entropy for entropy, flag in zip(entropies, flags, strict=True) if not flag)
        total += sum(entropy for entropy, flag in zip(entropies, flags, strict=True) if flag)
        total += sum(negatives[::-1][: 3 * sum(flags)])
    return total / max(int(np.count_nonzero(wanted)), 1)


def located(found: Array, wanted: Array, there: Array) -> float:
    total = 0.0
    for image, cell in np.argwhere(there).tolist():
        for distance in np.abs(found[image, cell] - wanted[image, cell]).tolist():
            total += distance**2 / 2 if distance < 1 else distance - 0.5
    return total / max(int(np.count_nonzero(there)), 1)


@pytest.mark.parametrize(
    ("segments", "links"), [((2, 5), (3, 1)), ((0, 4), (0, 2)), ((9, 9), (1, 20)), ((0, 0), (0, 0))]
)
def test_the_loss_is_that_of_the_paper(segments: tuple[int, int], links: tuple[int, int]) -> None:
    from model_zoo.seglink_loss import loss

    generator = np.random.default_rng(0)

    def flags(numbers: tuple[int, int], of: int) -> Array:
        rows = [generator.permutation([1] * number + [0] * (of - number)) for number in numbers]
        return np.array(rows, np.int32)

    there, joined = flags(segments, 24), flags(links, 90)
    scores, pairs, places, wanted = (
        generator.normal(0, 2, shape).astype(np.float32)
        for shape in ((2, 24, 2), (2, 90, 2), (2, 24, 6), (2, 24, 6))
    )
    found = float(loss(scores, places, pairs, (there, wanted, joined)))
    expected = mined(scores, there) + located(places, wanted, there) + mined(pairs, joined)
    assert found == pytest.approx(expected, rel=1e-5)


def test_what_is_right_and_sure_costs_nothing() -> None:
    from model_zoo.seglink_loss import loss

    there, joined = np.eye(2, 9, dtype=np.int32), np.eye(2, 30, dtype=np.int32)
    scores, pairs = (
        np.stack([-40 * flags, 40 * flags - 20], -1).astype(np.float32) for flags in (there, joined)
    )
    places = np.ones((2, 9, 6), np.float32)
    assert float(loss(scores, places, pairs, (there, places, joined))) == pytest.approx(0, abs=1e-6)
