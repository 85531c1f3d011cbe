"""Pictures, pixel by pixel: what is drawn, where, and that nothing else of the photograph changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bench.findings import (
    ClassProbability,
    Finding,
    KeyPoint,
    ObjectBox,
    ObjectMask,
    Person,
    RunLengths,
    TextOutline,
    Word,
)
from bench.pictures import BAR, BLACK, CAPTION, PAPER, WHITE, PhotographPen, picture_of, zoom_of

Pixels = NDArray[np.int64]

WIDTH, HEIGHT = 640, 480
GREY = (100, 100, 100)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def photograph(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Noise, in none of the colours that are drawn with."""
    noise = np.random.default_rng(0).integers(90, 110, (height, width, 3))
    return Image.fromarray(noise.astype(np.uint8))


def changed(picture: Image.Image, before: Image.Image) -> NDArray[np.bool_]:
    """Which pixels of the photograph are other ones in the picture."""
    part = picture.crop((0, 0, *before.size))
    different: NDArray[np.bool_] = (np.asarray(part) != np.asarray(before)).any(axis=-1)
    return different


def drawn(
    *findings: Finding, captions: Sequence[str] = (), size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Pixels:
    return np.asarray(picture_of(photograph(*size), findings, captions)).astype(np.int64)


def distances_to_box(left: float, top: float, right: float, bottom: float) -> NDArray[np.float64]:
    """Of every pixel's centre to the outline of a box."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    outside = np.hypot(
        np.maximum(np.maximum(left - x, x - right), 0), np.maximum(np.maximum(top - y, y - bottom), 0)
    )
    inside = np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y))
    distances: NDArray[np.float64] = np.where(outside > 0, outside, np.maximum(inside, 0))
    return distances


def test_without_findings_the_photograph_is_as_it_was() -> None:
    before = photograph()
    picture = picture_of(before, (), ["a caption"])
    assert not changed(picture, before).any()
    assert picture.width == WIDTH
    assert picture.height > HEIGHT


def test_an_outline_changes_the_pixels_near_it_and_no_others() -> None:
    before = photograph()
    outline = TextOutline(((100, 150), (400, 150), (400, 300), (100, 300)))
    found = changed(picture_of(before, (outline,), ()), before)
    near = distances_to_box(100, 150, 400, 300)
    assert found[near < 2.5].all()  # 3 pixels of colour, and two of black at either side
    assert not found[near > 5].any()


def test_an_outline_may_lean() -> None:
    """Of a square on its corner, the middles of the sides are drawn; the box around it is not."""
    pixels = drawn(TextOutline(((300, 100), (400, 200), (300, 300), (200, 200))))
    for x, y in ((350, 150), (350, 250), (250, 250), (250, 150)):
        assert pixels[y, x, 0] - pixels[y, x, 2] > 50  # yellow
    for x, y in ((205, 105), (395, 105), (205, 295), (395, 295), (300, 200)):
        assert (pixels[y, x] >= 90).all()
        assert (pixels[y, x] < 110).all()


def test_a_box_has_its_label_above_it() -> None:
    before = photograph()
    found = changed(picture_of(before, (ObjectBox(15, "person", 0.9, (100, 150, 400, 300)),), ()), before)
    away = distances_to_box(100, 150, 400, 300) > 5
    rows, columns = np.nonzero(found & away)
    assert rows.min() > 100
    assert rows.max() <= 150
    assert columns.min() >= 100
    assert columns.max() < 300


def test_a_mask_colours_its_pixels_and_lets_them_shine_through() -> None:
    before = Image.new("RGB", (WIDTH, HEIGHT), GREY)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[100:200, 300:400] = True
    pen = PhotographPen(before.copy(), 1)
    pen.tint(mask, RED)
    pixels = np.asarray(pen.finished(())).astype(np.int64)
    np.testing.assert_allclose(pixels[mask], [[100 + 0.45 * 155, 55, 55]] * mask.sum(), atol=1)
    assert (pixels[~mask] == GREY).all()


def test_a_mask_is_enlarged_with_the_photograph() -> None:
    mask = np.zeros((96, 128), np.bool_)
    mask[10, 20] = True
    found = ObjectMask(ObjectBox(1, "person", 0.9, (60, 60, 80, 80)), RunLengths.of(mask))
    before = photograph(128, 96)
    new = changed(picture_of(before, (found,), ()), before.resize((640, 480)))
    assert new[50:55, 100:105].all()
    assert new[:60, :].sum() == 25


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 7))
def test_run_lengths_are_those_of_coco(seed: int, height: int, width: int) -> None:
    """Down the columns, zeros first; and they tell the mask."""
    pixels = np.random.default_rng(seed).random((height, width)) < 0.5
    runs = RunLengths.of(pixels)
    expected, last = [0], False
    for column in range(width):
        for row in range(height):
            if pixels[row, column] != last:
                expected.append(0)
                last = not last
            expected[-1] += 1
    assert runs == RunLengths((height, width), tuple(expected))
    np.testing.assert_array_equal(runs.pixels(), pixels)


@pytest.mark.parametrize("place", [(0, 0), (WIDTH, 0), (0, HEIGHT), (WIDTH, HEIGHT), (WIDTH - 3, 5)])
def test_a_label_never_leaves_the_photograph(place: tuple[int, int]) -> None:
    """All of its ground is there, wherever the box is; as much of it as in the middle."""
    counts = [
        (np.asarray(_labelled(at, "person 0.90")) == RED).all(axis=-1).sum() for at in (place, (300, 200))
    ]
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


def _labelled(place: tuple[float, float], *texts: str) -> Image.Image:
    pen = PhotographPen(photograph(), 1)
    for text, colour in zip(texts, (RED, BLUE), strict=False):
        pen.label(place, text, colour)
    return pen.finished(()).crop((0, 0, WIDTH, HEIGHT))


def test_the_label_of_the_best_is_on_top() -> None:
    pixels = np.asarray(_labelled((100, 200), "person 0.90", "person 0.80"))
    assert (pixels == RED).all(axis=-1).sum() > 100
    assert (pixels == BLUE).all(axis=-1).sum() == 0


def test_letters_contrast_with_their_ground() -> None:
    on_yellow = PhotographPen(photograph(), 1)
    on_yellow.label((100, 100), "WWW", (240, 228, 66))
    assert (np.asarray(on_yellow.finished(())) == BLACK).all(axis=-1).any()
    assert (np.asarray(_labelled((100, 100), "", "WWW")) == WHITE).all(axis=-1).any()


def _person(*, sure: bool) -> Person:
    points = (
        KeyPoint("left hip", 1.2, (100, 100), sure),
        KeyPoint("left knee", 1.2, (100, 300), True),
        KeyPoint("nose", 1.2, (400, 100), True),
    )
    return Person(points, ((0, 1),))


def test_limbs_join_key_points_that_are_sure() -> None:
    before = photograph()
    sure, unsure = (changed(picture_of(before, (_person(sure=s),), ()), before) for s in (True, False))
    assert sure[200, 98:103].all()
    assert not unsure[200].any()
    for x, y in ((100, 300), (400, 100)):
        assert sure[y, x]
        assert unsure[y, x]
    assert sure[100, 100]
    assert not unsure[100, 100], "a ring shows the photograph"
    assert unsure[95:106, 90:111].any()
    assert not sure[:, 200:350].any(), "nothing joins the nose"


def test_left_and_right_have_a_colour_each() -> None:
    names = ("left wrist", "right wrist", "nose")
    assert len({KeyPoint(name, 1, (0, 0), True).colour for name in names}) == 3


@pytest.mark.parametrize(
    ("size", "zoom"),
    [
        ((640, 480), 1),
        ((6000, 4000), 1),
        ((320, 240), 2),  # a mean side of 277
        ((224, 224), 3),
        ((100, 32), 9),
        ((1, 5000), 1),
        ((10, 500), 3),  # no longer than 1920
        ((1, 1), 480),
    ],
)
def test_small_photographs_are_enlarged(size: tuple[int, int], zoom: int) -> None:
    assert zoom_of(*size) == zoom
    picture = picture_of(photograph(*size), (), ["a caption"])
    assert picture.width >= size[0] * zoom
    assert picture.height > size[1] * zoom


def test_places_are_enlarged_with_the_photograph() -> None:
    before = photograph(128, 96)  # five times
    person = Person((KeyPoint("nose", 1.0, (40.0, 60.0), True),), ())
    found = changed(picture_of(before, (person,), ()), before.resize((640, 480)))
    rows, columns = np.nonzero(found)
    assert (rows.mean(), columns.mean()) == pytest.approx((300, 200), abs=0.5)


def test_lines_and_letters_grow_with_the_photograph() -> None:
    """Ten times the sides: ten times the line, and ten times the strip."""
    heights, widths = [], []
    for factor in (1, 10):
        width, height = 600 * factor, 600 * factor
        corners = ((0, 300 * factor), (width, 300 * factor), (width, height), (0, height))
        pixels = np.asarray(
            picture_of(Image.new("RGB", (width, height), GREY), (TextOutline(corners),), ["x"])
        )
        widths.append((pixels[: 450 * factor, width // 2] != GREY).any(axis=-1).sum())
        heights.append(len(pixels) - height)
    assert widths[1] / widths[0] == pytest.approx(10, rel=0.25)
    assert heights[1] / heights[0] == pytest.approx(10, rel=0.05)


def test_what_has_no_place_stands_below_the_photograph() -> None:
    before = photograph()
    findings = (ClassProbability(7, 0.5), ClassProbability(3, 0.25), Word("cat", (12, 10, 29)))
    picture = picture_of(before, findings, ())
    assert not changed(picture, before).any()
    rows = np.array_split(np.asarray(picture)[HEIGHT:], 3)
    for row, share in zip(rows, (0.5, 0.25, 0.0), strict=True):
        first_line = row[0]  # above the letters
        bar = (first_line == BAR).all(axis=-1)
        assert bar.sum() == share * WIDTH
        assert (first_line[~bar] == PAPER).all()
        assert (row == WHITE).all(axis=-1).any()


def test_long_captions_are_wrapped() -> None:
    one, many = (picture_of(photograph(), (), ["word " * count]).height - HEIGHT for count in (1, 100))
    assert many > 5 * one
    assert many % one == 0


def test_letters_are_as_wide_as_the_strip_at_most() -> None:
    pixels = drawn(captions=["word " * 100])[HEIGHT:]
    assert (pixels[:, -2:] == PAPER).all()


def test_a_narrow_photograph_still_has_a_caption_beside_it() -> None:
    pixels = drawn(captions=["seeded weights: the answer means nothing"], size=(4, 1000))
    assert pixels.shape[1] > 100
    assert (pixels[1000:] == CAPTION).all(axis=-1).any()


def test_the_part_that_is_seen_has_a_thin_outline() -> None:
    before = photograph()
    found = changed(picture_of(before, (), (), part=(80, 0, 560, 480)), before)
    near = distances_to_box(80, 0, 560, 480)
    inside = (slice(None), slice(80, 560))
    assert found[inside][near[inside] < 1].all()
    assert not found[near > 3].any()
    assert not found[:, :80].any()


def test_a_part_of_less_than_a_pixel_is_marked_too() -> None:
    before = photograph(1, 5000)
    assert changed(picture_of(before, (), (), part=(0.1, 2000.0, 0.9, 2000.8)), before).any()
