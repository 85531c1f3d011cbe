"""Rendered words pasted on photographs: scenes for networks that find text, 192x192, with a box for each.

What is judged is made of other words and of other photographs than what is learned from. Letters that a
photograph has of its own are not asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_zoo import word_images
from model_zoo.backgrounds import FEEDS, Pixels, backgrounds, composed, part_of
from model_zoo.detection import overlaps
from model_zoo.photographs import ImageSet, photographs, synthetic_set
from model_zoo.spec import Split
from model_zoo.text_boxes import Boxes
from model_zoo.text_scenes import turned
from model_zoo.word_images import MARGIN, WordImage, degrees_of, font_files, freetype, words
from runtime.errors import UnavailableError
from runtime.progress import Progress, silent

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 192
MOST = 4
"""Words of a scene."""

_BACKGROUND_SIDE = 264
_HEIGHTS = (12, 32)  # pixels of the letters, from the lowest to the highest of them
_WIDEST = 0.9  # of the paper, as a share of the scene; words that are too long are written smaller
_DEGREES = 20.0
_TRIES = 20

CONSTANTS = (SIDE, MOST, _BACKGROUND_SIDE, _HEIGHTS, _WIDEST, _DEGREES, _TRIES)
"""What a change of would give other scenes; part of their digest."""


@dataclass(frozen=True)
class Scene:
    """An image [192, 192, 3], and of each word in it the letters, and what they take up, in pixels."""

    image: Pixels
    texts: tuple[str, ...]
    boxes: Boxes


@dataclass(frozen=True)
class Pieces:
    """What scenes of one split are made of; the backgrounds are a little larger than a scene."""

    words: tuple[WordImage, ...]
    backgrounds: tuple[Pixels, ...]


def pieces_of(split: Split, progress: Progress = silent) -> Pieces:
    """Raises UnavailableError where words, fonts or photographs cannot be fetched."""
    words(progress)
    font_files(progress)
    photographs(progress)
    return _pieces(split)


@cache
def _pieces(split: Split) -> Pieces:
    return Pieces(word_images.word_images(words(), font_files(), split), backgrounds(split, _BACKGROUND_SIDE))


def scene(pieces: Pieces, *key: int) -> Scene:
    """One to four words on a part of a photograph; the same for the same pieces and key."""
    import PIL.Image

    generator = np.random.Generator(np.random.Philox(list(key)))
    image = PIL.Image.fromarray(part_of(pieces.backgrounds, SIDE, generator).astype(np.uint8))
    texts, boxes, taken = [], [], np.empty((0, 4))
    for _ in range(int(generator.integers(1, MOST + 1))):
        word = pieces.words[int(generator.integers(len(pieces.words)))]
        height, degrees = generator.uniform(*_HEIGHTS), generator.uniform(-_DEGREES, _DEGREES)
        patch, mask, size = _drawn_word(word, height, degrees)
        corner = _free_corner(patch.size, taken, generator)
        if corner is not None:
            image.paste(patch, corner, mask)
            texts.append(word.text)
            turn = -math.radians(degrees + degrees_of(*word.key))  # rows count downwards
            boxes.append([*(np.array(corner) + np.array(patch.size) / 2), *size, turn])
            taken = np.concatenate([taken, _edges(corner, patch.size)])
    return Scene(np.array(image), tuple(texts), np.array(boxes))


def _drawn_word(word: WordImage, height: float, degrees: float) -> tuple[Image, Image, tuple[float, float]]:
    """Its paper, turned; where that is; and width and height of what is written on it."""
    paper = word()
    scale = min(height / (paper.height - 2 * MARGIN), _WIDEST * SIDE / paper.width)
    patch, mask = turned(paper, scale * paper.height, degrees)
    return patch, mask, (scale * (paper.width - 2 * MARGIN), scale * (paper.height - 2 * MARGIN))


def _free_corner(
    size: tuple[int, int], taken: NDArray[np.float64], generator: np.random.Generator
) -> tuple[int, int] | None:
    """Left and top of a place where it covers none of what is there; None where none was found."""
    for shares in generator.random((_TRIES, 2)):
        left, top = (int(share * (SIDE - side + 1)) for share, side in zip(shares, size, strict=True))
        if not overlaps(_edges((left, top), size), taken).any():
            return left, top
    return None


def _edges(corner: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    """[1, 4]: x1, y1, x2, y2."""
    return np.array([[*corner, corner[0] + size[0], corner[1] + size[1]]], np.float64)


def word_scene_set(progress: Progress = silent) -> ImageSet:
    """Scenes made of what is learned from, and of what is held out; seeded images where neither is there."""
    try:
        pieces = {split: pieces_of(split, progress) for split in Split}
    except UnavailableError as error:
        return synthetic_set(str(error))
    constants = (CONSTANTS, word_images.CONSTANTS, freetype())
    return composed("rendered words pasted on photographs", ("words", "fonts"), constants, _drawn, pieces)


def _drawn(pieces: Pieces, number: int) -> Image:
    import PIL.Image

    return PIL.Image.fromarray(scene(pieces, FEEDS, number).image)
