"""Key points of heat maps, against OpenCV's Gaussian blur and places worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_zoo.keypoints import KEY_POINTS, in_image, key_points, scores, with_mirrored
from runtime.errors import CheckFailed, GraphError
from runtime.tensors import Array

HEIGHT, WIDTH, POINTS = 24, 18, 17


def test_places_are_those_of_opencvs_blur() -> None:
    pytest.importorskip("cv2")
    maps = np.random.default_rng(0).normal(0, 1, (2, HEIGHT, WIDTH, POINTS)).astype(np.float32)
    expected = [[_by_opencv(image[..., point]) for point in range(POINTS)] for image in maps]
    np.testing.assert_allclose(key_points(maps), expected, atol=1e-9)


def test_a_place_lies_a_quarter_of_a_pixel_towards_the_second_highest() -> None:
    maps = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    maps[0, 12, 8, 0], maps[0, 12, 9, 0] = 10, 9
    np.testing.assert_allclose(key_points(maps), [[[8.25, 12]]])
    np.testing.assert_allclose(in_image(key_points(maps)), [[[35, 50]]])


def test_a_place_never_leaves_the_map() -> None:
    maps = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    maps[0, 0, 0, 0] = 10
    assert key_points(maps).min() >= 0


def test_scores_are_the_heat_at_the_nearest_pixel() -> None:
    maps = np.zeros((2, HEIGHT, WIDTH, 3), np.float32)
    maps[1, 5, 7, 2] = 255
    places = np.full((2, 3, 2), (7.25, 5.0))
    np.testing.assert_allclose(scores(maps, places), [[0.5, 0.5, 0.5], [0.5, 0.5, 1.5]])


def test_a_mirror_images_heat_comes_back_with_left_and_right_swapped() -> None:
    maps = np.zeros((1, 2, 3, 17), np.float32)
    maps[0, 0, 0, 5], maps[0, 1, 2, 0] = 4, 2
    mirrored = np.zeros_like(maps)
    mirrored[0, 0, 2, 6], mirrored[0, 1, 0, 0] = 4, 2
    np.testing.assert_array_equal(with_mirrored(maps, mirrored), maps)
    assert with_mirrored(maps, maps)[0, 0, 2, 6] == 2


def test_agreement_is_the_share_of_key_points_within_a_pixel() -> None:
    rows, columns = np.arange(POINTS) % HEIGHT, np.arange(POINTS) % WIDTH
    there = _peaks(rows, columns)
    moved, far = columns.copy(), columns.copy()
    moved[:4] += 1
    far[:4] += 4
    assert KEY_POINTS.agreeing(there, there, 1).tolist() == [1]
    np.testing.assert_allclose(KEY_POINTS.agreeing(there, _peaks(rows, far), 1), [13 / 17])
    assert KEY_POINTS.agreeing(there, _peaks(rows, moved), 1)[0] > 13 / 17


def test_samples_are_judged_apart_and_other_outputs_do_not_count() -> None:
    maps = np.random.default_rng(1).normal(0, 1, (2, HEIGHT, WIDTH, POINTS)).astype(np.float32)
    other = {"heatmaps": np.concatenate([maps[:1], -maps[1:]]), "global_heatmaps": np.full(3, np.nan)}
    same, different = KEY_POINTS.agreeing({"heatmaps": maps}, other, 2)
    assert same == 1
    assert different < 0.5


def test_graphs_without_heat_maps_are_refused() -> None:
    with pytest.raises(GraphError, match=r"want an output 'heatmaps' .* gives \{'prob': \[2, 5\]\}"):
        KEY_POINTS.agreeing({"prob": np.zeros((2, 5))}, {}, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows_no_key_points(bad: float) -> None:
    maps = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    maps[0, 3, 3, 0] = bad
    with pytest.raises(CheckFailed, match="output 'heatmaps' holds 1 NaN or infinite values of 432"):
        KEY_POINTS.agreeing({"heatmaps": maps}, {"heatmaps": maps}, 1)


def _by_opencv(heat: Array) -> NDArray[np.float64]:
    import cv2

    bordered = np.pad(heat.astype(np.float64), 10)
    blurred = cv2.GaussianBlur(bordered, (21, 21), 0)
    first = np.array(np.unravel_index(blurred.argmax(), blurred.shape))
    blurred[tuple(first)] = -np.inf
    step = np.array(np.unravel_index(blurred.argmax(), blurred.shape)) - first
    row, column = first - 10 + 0.25 * step / np.hypot(*step)
    return np.array([np.clip(column, 0, WIDTH - 1), np.clip(row, 0, HEIGHT - 1)])


def _peaks(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> dict[str, Array]:
    """One bright pixel a key point, with a dimmer one to its right."""
    maps = np.zeros((1, HEIGHT, WIDTH + 6, POINTS), np.float32)
    maps[0, rows, columns, np.arange(POINTS)] = 100
    maps[0, rows, columns + 1, np.arange(POINTS)] = 50
    return {"heatmaps": maps}
