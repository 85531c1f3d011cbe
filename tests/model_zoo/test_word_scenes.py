"""Scenes of words: boxes by the pixels that changed and by shapely, and what is held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from model_zoo import backgrounds, word_scenes
from model_zoo.backgrounds import LEARNED
from model_zoo.catalog import get_model, get_variant
from model_zoo.samples import uniforms
from model_zoo.spec import Split
from model_zoo.text_boxes import corners
from model_zoo.word_images import WordImage
from model_zoo.word_scenes import MOST, SIDE, Pieces, pieces_of, scene
from runtime.errors import UnavailableError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Block(WordImage):
    """A word of one letter that is a black block, on white paper, turned as `render` turns words."""

    def __call__(self) -> Image:
        ink = PIL.Image.new("L", (90, 60), 255)
        PIL.ImageDraw.Draw(ink).rectangle((12, 12, 90 - 13, 60 - 13), fill=0)
        degrees = 4.0 * (2 * float(uniforms(1, "word", *self.key)[0]) - 1)
        return ink.rotate(degrees, PIL.Image.Resampling.BICUBIC, fillcolor=255).convert("RGB")


@pytest.fixture(scope="module")
def blocks() -> Pieces:
    ground = np.full((200, 210, 3), 128, np.uint8)
    return Pieces(tuple(Block(str(key), None, (key,)) for key in range(5)), (ground,))


@pytest.fixture(scope="module")
def made_up() -> Pieces:
    """Words in Pillow's own font, on one dark and one light background."""
    grounds = tuple(np.full((200, 210, 3), value, np.uint8) for value in (0, 250))
    texts = ("word", "MATRIX", "Benchmark")
    return Pieces(tuple(WordImage(text, None, (text,)) for text in texts), grounds)


@pytest.fixture(scope="module")
def real() -> dict[Split, Pieces]:
    try:
        return {split: pieces_of(split) for split in Split}
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("key", range(20))
def test_ink_is_inside_of_boxes_and_all_over_them(blocks: Pieces, key: int) -> None:
    """A pixel next to an edge may be either; the background and the paper are nowhere as dark as ink."""
    found = scene(blocks, key)
    ink = found.image.max(axis=2) < 64
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    inside, middle = np.zeros_like(ink), np.zeros_like(ink)
    for x, y, width, height, angle in found.boxes.tolist():
        right, down = columns - x, rows - y
        along = np.abs(right * np.cos(angle) + down * np.sin(angle))
        across = np.abs(down * np.cos(angle) - right * np.sin(angle))
        inside |= (along < width / 2 + 1.5) & (across < height / 2 + 1.5)
        middle |= (along < width / 2 - 1.5) & (across < height / 2 - 1.5)
        assert width / height == pytest.approx((90 - 24) / (60 - 24))
        assert abs(angle) < np.radians(20 + 4)
    assert middle.any()
    assert not (ink & ~inside).any()
    assert not (middle & ~ink).any()


def test_words_lie_apart_and_inside(made_up: Pieces) -> None:
    shapely = pytest.importorskip("shapely")
    numbers, heights = set(), []
    for key in range(60):
        found = scene(made_up, key)
        polygons = [shapely.Polygon(outline) for outline in corners(found.boxes)]
        assert all(one.disjoint(other) for one, other in combinations(polygons, 2))
        assert all(shapely.box(0, 0, SIDE, SIDE).contains(polygon) for polygon in polygons)
        assert len(found.texts) == len(polygons)
        numbers.add(len(polygons))
        heights += found.boxes[:, 3].tolist()
    assert {1, 2, 3} <= numbers <= set(range(1, MOST + 1))
    assert max(heights) <= 32
    assert min(heights) < 16


def test_a_word_that_is_too_long_is_written_smaller(made_up: Pieces) -> None:
    long_word = replace(made_up, words=(WordImage("incomprehensibilities", None, (0,)),))
    widths = [scene(long_word, key).boxes[0, 2] for key in range(10)]
    assert 0.7 * SIDE < max(widths) < 0.9 * SIDE


def test_a_key_is_a_scene(made_up: Pieces) -> None:
    first, again, other = scene(made_up, 1, 2), scene(made_up, 1, 2), scene(made_up, 1, 3)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert first.texts == again.texts
    assert not np.array_equal(first.image, other.image)


def test_an_epoch_has_scenes_of_its_own(made_up: Pieces) -> None:
    first, second = (scene(made_up, LEARNED, 0, epoch, 0) for epoch in (0, 1))
    assert not np.array_equal(first.image, second.image)


def test_neither_a_word_nor_a_photograph_is_both_learned_from_and_judged(real: dict[Split, Pieces]) -> None:
    learned, judged = real[Split.CALIBRATION], real[Split.EVALUATION]
    assert {word.text.lower() for word in learned.words}.isdisjoint(
        word.text.lower() for word in judged.words
    )
    assert {image.tobytes() for image in learned.backgrounds}.isdisjoint(map(bytes, judged.backgrounds))
    assert (len(learned.backgrounds), len(judged.backgrounds)) == (13, 12)
    assert all(min(image.shape[:2]) >= SIDE for image in (*learned.backgrounds, *judged.backgrounds))


@pytest.mark.usefixtures("real")
def test_feeds_are_scenes_in_bgr() -> None:
    feeds = get_variant(get_model("seglink"), "words").feeds("tensorflow")
    assert feeds.origin == "rendered words pasted on photographs; those of evaluation are held out"
    images = next(feeds.batches(2, Split.EVALUATION))["images"]
    pixels = (images + np.array((104, 117, 123), np.float32))[..., ::-1]
    first = scene(pieces_of(Split.EVALUATION), backgrounds.FEEDS, 0)
    np.testing.assert_array_equal(pixels[0], first.image)


def test_without_the_archives_the_feeds_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> Pieces:
        raise UnavailableError("no archive")

    monkeypatch.setattr(word_scenes, "pieces_of", missing)
    feeds = get_variant(get_model("seglink"), "words").feeds("tensorflow")
    assert feeds.origin == "synthetic (seed 0): no archive"
