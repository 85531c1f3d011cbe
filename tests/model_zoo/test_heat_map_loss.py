"""What CPN learns by, against its formulas followed pixel by pixel, and against the reader of heat maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from model_zoo.heat_map_loss import DEVIATIONS, hardest, heat_maps, loss
from model_zoo.keypoints import in_image, key_points
from runtime.tensors import Array

pytest.importorskip("tensorflow")

SIZE = (32, 24)


def places(samples: int, points: int = 6, margin: float = 0.0) -> NDArray[np.float64]:
    """X and y of key points in an image of 128 x 96."""
    generator = np.random.default_rng(0)
    return generator.uniform(margin, (96 - margin, 128 - margin), (samples, points, 2))


def test_a_map_is_a_gaussian_of_255_around_its_point() -> None:
    where = places(2, 3)
    found = np.asarray(heat_maps(where, SIZE, 1.4))
    assert found.shape == (2, *SIZE, 3)
    for sample, row, column, point in np.ndindex(found.shape):
        x, y = where[sample, point]
        apart = (4 * column + 2 - x) ** 2 + (4 * row + 2 - y) ** 2
        expected = 255 * math.exp(-apart / 16 / (2 * 1.4**2))
        assert found[sample, row, column, point] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_a_point_in_the_middle_of_a_pixel_gives_it_255() -> None:
    found = np.asarray(heat_maps(np.array([[[42.0, 62.0]]]), SIZE, 2.0))
    assert found[0, 15, 10, 0] == 255
    assert found.max() == 255


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_the_reader_of_heat_maps_finds_the_points_again(deviation: float) -> None:
    """It knows places to a quarter of a pixel along two axes: 4 pixels of the image, a half each way."""
    where = places(8, margin=24)
    found = in_image(key_points(np.asarray(heat_maps(where, SIZE, deviation))))
    assert np.abs(found - where).max() < 4 * 0.55
    assert np.abs(found - where).mean() < 4 * 0.25


@pytest.mark.parametrize(("taps", "stage"), [(7, 0), (9, 1), (11, 2), (15, 3)])
def test_widths_are_those_of_opencvs_gaussians(taps: int, stage: int) -> None:
    """Of few taps OpenCV has a table of sixty-fourths and the like in place of the formula."""
    cv2 = pytest.importorskip("cv2")
    heat = np.asarray(heat_maps(np.array([[[50.0, 66.0]]]), SIZE, DEVIATIONS[stage]))[0, 16, :, 0]
    kernel = cv2.getGaussianKernel(taps, 0)[:, 0]
    reach = taps // 2
    shown = heat[12 - reach : 13 + reach]
    np.testing.assert_allclose(shown / 255, kernel / kernel.max(), atol=0.03 if taps < 11 else 1e-6)


def test_the_hardest_half_of_the_points_counts() -> None:
    """Of 6, 3: (9 + 5 + 4) / 3 and (6 + 6 + 1) / 3."""
    distances = np.array([[1, 9, 5, 0, 4, 3], [6, 1, 0, 6, 0, 1]], np.float32)
    assert float(hardest(distances)) == pytest.approx((6 + 13 / 3) / 2)


def test_of_one_point_that_one_is_the_hardest() -> None:
    assert float(hardest(np.array([[2.0], [4.0]], np.float32))) == 3


def followed(refined: Array, coarse: Array, where: NDArray[np.float64]) -> float:
    """The same point by point."""
    wanted = [np.asarray(heat_maps(where, SIZE, deviation)) for deviation in DEVIATIONS]
    points = where.shape[1]
    total = 0.0
    for sample in range(len(where)):
        distances = sorted(
            float(((refined[sample, ..., k] - wanted[0][sample, ..., k]) ** 2).mean()) for k in range(points)
        )
        total += sum(distances[-(points // 2) :]) / (points // 2) / len(where)
    for stage, maps in enumerate(wanted):
        apart = coarse[..., stage * points : (stage + 1) * points] - maps
        total += float((apart**2).mean()) / 4 / 2
    return total


def test_the_loss_is_refinenets_at_the_hardest_points_and_half_of_globalnets() -> None:
    generator = np.random.default_rng(1)
    refined = generator.normal(0, 30, (3, *SIZE, 6)).astype(np.float32)
    coarse = generator.normal(0, 30, (3, *SIZE, 24)).astype(np.float32)
    where = places(3)
    assert float(loss(refined, coarse, where)) == pytest.approx(followed(refined, coarse, where), rel=1e-4)


def test_what_is_wanted_costs_nothing() -> None:
    where = places(3)
    maps = [np.asarray(heat_maps(where, SIZE, deviation)) for deviation in DEVIATIONS]
    assert float(loss(maps[0], np.concatenate(maps, axis=-1), where)) == 0
    assert float(loss(maps[0], np.concatenate(maps[::-1], axis=-1), where)) > 1
