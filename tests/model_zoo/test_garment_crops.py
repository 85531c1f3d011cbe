"""Crops of one garment: landmarks worked by hand, and that they stay on the garment wherever it is put."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from bench.findings import KeyPoint
from model_zoo import backgrounds, garment_scenes
from model_zoo.backgrounds import LEARNED
from model_zoo.catalog import get_model, get_variant
from model_zoo.garment_crops import HEIGHT, WIDTH, Crop, Placing, crop
from model_zoo.garment_landmarks import GARMENT_POINTS, POINTS, landmarks
from model_zoo.garment_scenes import SEEN, Pieces, pieces_of
from model_zoo.spec import Split
from runtime.errors import UnavailableError
from tests.model_zoo.garment_pieces import made_up_pieces

BLACK = replace(made_up_pieces(), backgrounds=made_up_pieces().backgrounds[:1])


def picture(inside: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Grey 200 where `inside` holds of row and column."""
    return np.where(inside(*np.mgrid[:28, :28]), 200, 0).astype(np.uint8)


def test_points_of_a_rectangle_are_on_its_sides_at_a_tenth_a_half_and_nine_tenths() -> None:
    found = landmarks(
        picture(lambda rows, columns: (rows >= 4) & (rows < 24) & (columns >= 8) & (columns < 18))
    )
    expected = [(8, 6), (18, 6), (8, 14), (18, 14), (8, 22), (18, 22)]
    np.testing.assert_allclose(found, expected)


def test_fifths_are_of_the_area_and_a_row_counts_as_far_as_it_is_inside() -> None:
    """Rows of 1, 2, 3 and 4 pixels: two are a fifth, one of row 1 and one of 2; of row 3; of row 4."""
    found = landmarks(picture(lambda rows, columns: (rows < 4) & (columns <= rows)))
    np.testing.assert_allclose(found[:2], [(0, (0.5 + 1.5) / 2), ((1 + 2) / 2, (0.5 + 1.5) / 2)])
    np.testing.assert_allclose(found[2:4], [(0, 2.5), (3, 2.5)])
    np.testing.assert_allclose(found[4:], [(0, 3.5), (4, 3.5)])


def test_what_a_pixel_is_too_dark_for_is_no_garment() -> None:
    image = picture(lambda rows, columns: (rows >= 4) & (rows < 24) & (columns >= 8) & (columns < 18))
    np.testing.assert_array_equal(landmarks(np.maximum(image, SEEN - 1)), landmarks(image))


def test_a_mirrored_garment_has_mirrored_points_with_left_and_right_swapped() -> None:
    image = picture(lambda rows, columns: (columns > 3) & (columns < 10 + rows // 2))
    swapped = landmarks(image[:, ::-1])[[1, 0, 3, 2, 5, 4]]
    np.testing.assert_allclose(swapped, landmarks(image) * (-1, 1) + (28, 0))


def test_a_pixel_at_the_outline_moves_no_point_far() -> None:
    """Of a garment 20 wide and 20 high, whose fifths have four rows."""
    image = picture(lambda rows, columns: (rows >= 4) & (rows < 24) & (columns >= 4) & (columns < 24))
    seen = image > 0
    outline = scipy.ndimage.binary_dilation(seen) & ~scipy.ndimage.binary_erosion(seen)
    for row, column in np.argwhere(outline):
        other = image.copy()
        other[row, column] = 200 - other[row, column]
        assert np.abs(landmarks(other) - landmarks(image)).max() < 1


def test_a_picture_is_drawn_where_its_points_are_placed() -> None:
    """Against SciPy's interpolation, and the middle of a spot."""
    matrix = np.array([[2.4, -0.8], [0.9, 2.1]])
    placing = Placing(matrix, np.array([20.5, 10.25]))
    spot = picture(lambda rows, columns: (abs(rows - 9) <= 1) & (abs(columns - 17) <= 1))
    drawn = placing.drawn(spot)
    assert drawn.shape == (HEIGHT, WIDTH)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    centre = np.array([(columns * drawn).sum(), (rows * drawn).sum()]) / drawn.sum()
    np.testing.assert_allclose(centre, placing.placed(np.array([[17.5, 9.5]]))[0], atol=0.1)
    back = np.linalg.inv(matrix)
    x, y = np.einsum("ij,jhw->ihw", back, np.stack([columns - 20.5, rows - 10.25]))
    expected = scipy.ndimage.map_coordinates(spot.astype(float), [y - 0.5, x - 0.5], order=1)
    np.testing.assert_allclose(drawn, expected, atol=1.5)


def distances(found: Crop) -> NDArray[np.float64]:
    """[6]: pixels from each point to the nearest border of what was pasted on black."""
    seen = np.pad(found.image.max(axis=2) > 0, 1)
    border = scipy.ndimage.binary_dilation(seen) & ~scipy.ndimage.binary_erosion(seen)
    rows, columns = np.nonzero(border)
    middles = np.column_stack([columns, rows]) - 0.5
    apart: NDArray[np.float64] = np.linalg.norm(found.points[:, None] - middles, axis=-1).min(axis=1)
    return apart


def test_points_are_on_the_outline_of_what_was_pasted_and_the_box_is_around_it() -> None:
    """An ellipse's edge is nearly straight over a fifth, except at the ends of a flat one."""
    for key in range(40):
        found = crop(BLACK, key)
        rows, columns = np.nonzero(found.image.max(axis=2) > 0)
        box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert found.corners.tolist() == list(box)
        size = max(box[2] - box[0], box[3] - box[1])
        assert np.median(distances(found)) < 0.05 * size
        assert distances(found).max() < 0.1 * size


def test_a_garment_is_in_the_crop_as_a_whole_and_fills_half_to_nine_tenths_of_it() -> None:
    shares = []
    for key in range(60):
        found = crop(BLACK, key)
        sides = found.corners[2:] - found.corners[:2]
        shares.append((sides / (WIDTH, HEIGHT)).max())
        assert (found.corners >= 0).all()
        assert (found.corners[2:] <= (WIDTH, HEIGHT)).all()
        assert ((found.points > 0) & (found.points < (WIDTH, HEIGHT))).all()
    assert min(shares) > 0.47
    assert max(shares) < 0.93
    assert max(shares) - min(shares) > 0.3


def test_left_stays_left_and_top_stays_top() -> None:
    """No garment is turned so far that one would call its sides otherwise."""
    for key in range(60):
        points = crop(BLACK, key).points
        assert (points[1::2, 0] > points[::2, 0]).all()
        assert (points[4:].mean(axis=0) > points[:2].mean(axis=0))[1]


def test_a_key_is_a_crop() -> None:
    first, again, other = (crop(BLACK, LEARNED, 0, number, 0) for number in (0, 0, 1))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.points, again.points)
    assert not np.array_equal(first.image, other.image)


def test_photographs_that_are_learned_from_lie_on_any_side_in_any_colours() -> None:
    """One that gets brighter downwards only, green and blue more so than red."""
    ground = np.arange(140)[:, np.newaxis, np.newaxis] // np.array([4, 2, 1]) * np.ones((1, 150, 1))
    pieces = replace(BLACK, backgrounds=(ground.astype(np.uint8),))

    def sides(varied: bool) -> set[tuple[int, ...]]:
        images = [crop(pieces, key, varied=varied).image.astype(int) for key in range(200)]
        edges = [np.sign(image[-1, 0] - image[0, 0]).sum() for image in images]
        return {
            (int(edge), *np.argsort(image[-1, -1]).tolist())
            for edge, image in zip(edges, images, strict=True)
        }

    assert sides(varied=False) == {(3, 0, 1, 2)}
    assert len(sides(varied=True)) == 3 * 6  # brighter downwards, upwards, or neither


def test_points_have_names_and_lines_between_them_that_go_around() -> None:
    assert len(POINTS) == len(set(POINTS)) == 6
    ends = np.array(GARMENT_POINTS.limbs)
    assert np.bincount(ends.reshape(-1)).tolist() == [2] * 6
    left, right = (KeyPoint(name, 1.0, (0, 0), True).colour for name in POINTS[:2])
    assert left != right


def test_feeds_are_crops_and_without_the_archives_they_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = get_variant(get_model("cpn"), "garments").feeds
    try:
        learned = pieces_of(Split.CALIBRATION)
    except UnavailableError as error:
        pytest.skip(str(error))
    fed = next(feeds("tensorflow").batches(2, Split.CALIBRATION))["images"]
    pixels = fed * 255 + np.array([102.9801, 115.9465, 122.7717])
    first = crop(learned, backgrounds.FEEDS, 0).image
    np.testing.assert_allclose(pixels[0, ..., ::-1], first, atol=1e-3)

    def missing(*_: object) -> Pieces:
        raise UnavailableError("no archive")

    monkeypatch.setattr(garment_scenes, "pieces_of", missing)
    assert feeds("tensorflow").origin == "synthetic (seed 0): no archive"
