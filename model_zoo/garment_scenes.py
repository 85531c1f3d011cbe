"""Garments of Fashion-MNIST pasted on photographs: scenes for detectors, 128x128, with a box for each.

What is judged is made of other garments and of other photographs than what is learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_zoo.backgrounds import FEEDS, Pixels, backgrounds, composed, part_of
from model_zoo.detection import overlaps
from model_zoo.fashion_mnist import CLASSES, FashionMnist, Pictures, fashion_mnist
from model_zoo.photographs import ImageSet, photographs, synthetic_set
from model_zoo.spec import Split
from runtime.errors import UnavailableError
from runtime.progress import Progress, silent

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 128
KINDS = ("T-shirt/top", "trouser", "bag", "ankle boot")
"""Labels 1 to 4: kinds that a person tells apart at a glance; 0 is the background."""

SEEN = 24
"""Grey from which a pixel is the garment's."""

_BACKGROUND_SIDE = 176
MOST = 4
"""Garments of a scene."""
_SIZES = (32, 64)  # pixels of the square that a garment is drawn in
_OPAQUE = 64
_DARKEST = 0.4
_TRIES = 20
_MOST_OVERLAP = 0.1

CONSTANTS = (SIDE, KINDS, _BACKGROUND_SIDE, MOST, _SIZES, SEEN, _OPAQUE, _DARKEST, _MOST_OVERLAP)
"""What a change of would give other scenes; part of their digest."""


@dataclass(frozen=True)
class Scene:
    """An image [128, 128, 3], and of each garment in it the label, and x1, y1, x2, y2 [n, 4] in pixels.

    masks: [n, 128, 128], the pixels of each that no later one hides; its box is of all of them.
    """

    image: Pixels
    labels: NDArray[np.int64]
    corners: NDArray[np.float64]
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class Pieces:
    """What scenes of one split are made of.

    garments:    [n, 28, 28], and `kinds` [n], 1 to 4.
    backgrounds: each [height, width, 3], a little larger than a scene.
    """

    garments: Pixels
    kinds: NDArray[np.int64]
    backgrounds: tuple[Pixels, ...]


def pieces_of(split: Split, progress: Progress = silent) -> Pieces:
    """Raises UnavailableError where garments or photographs cannot be fetched."""
    fashion_mnist(progress)
    photographs(progress)
    return _pieces(split)


@cache
def _pieces(split: Split) -> Pieces:
    return chosen(fashion_mnist(), split, backgrounds(split, _BACKGROUND_SIDE))


def chosen(fashion: FashionMnist, split: Split, grounds: Sequence[Pixels]) -> Pieces:
    """The garments of the four kinds: those that are learned from, or the held-out ones."""
    pictures: Pictures = fashion.test if split is Split.EVALUATION else fashion.training
    kinds = np.array([KINDS.index(name) + 1 if name in KINDS else 0 for name in CLASSES])[pictures.labels]
    return Pieces(pictures.images[kinds > 0], kinds[kinds > 0], tuple(grounds))


def scene(pieces: Pieces, *key: int) -> Scene:
    """One to four garments on a part of a photograph; the same for the same pieces and key."""
    generator = np.random.Generator(np.random.Philox(list(key)))
    image = background(pieces, generator)
    labels: list[int] = []
    corners, masks = np.empty((0, 4)), np.empty((0, SIDE, SIDE), np.bool_)
    for _ in range(int(generator.integers(1, MOST + 1))):
        index = int(generator.integers(len(pieces.kinds)))
        side = int(generator.integers(*_SIZES, endpoint=True))
        share = _share(pieces.garments[index], side, mirrored=bool(generator.random() < 0.5))
        colour = colour_of(generator)
        place = _free_place(share, corners, generator)
        if place is not None:
            paste(image, share, colour, place)
            labels.append(int(pieces.kinds[index]))
            corners = np.concatenate([corners, box_of(share, place)[np.newaxis]])
            covered = _covered(share, place)
            masks = np.concatenate([masks & ~covered, covered[np.newaxis]])
    return Scene(np.rint(image).astype(np.uint8), np.array(labels, np.int64), corners, masks)


def background(pieces: Pieces, generator: np.random.Generator) -> NDArray[np.float64]:
    """[128, 128, 3] of a photograph, mirrored or not."""
    return part_of(pieces.backgrounds, SIDE, generator)


def colour_of(generator: np.random.Generator) -> NDArray[np.float64]:
    """[3]: what a garment's grey is multiplied by; none is too dark to be seen."""
    return _DARKEST + (1 - _DARKEST) * generator.random(3)


def _share(garment: Pixels, side: int, *, mirrored: bool) -> NDArray[np.float64]:
    """The garment [side, side] in grey, 0 to 255."""
    import PIL.Image

    image = PIL.Image.fromarray(garment[:, ::-1] if mirrored else garment)
    return np.asarray(image.resize((side, side), PIL.Image.Resampling.BILINEAR), np.float64)


def _free_place(
    share: NDArray[np.float64], taken: NDArray[np.float64], generator: np.random.Generator
) -> tuple[int, int] | None:
    """Top and left of a place where it hides none of what is there; None where none was found."""
    room = SIDE - len(share)
    for top, left in generator.integers(0, room, (_TRIES, 2), endpoint=True).tolist():
        over = overlaps(box_of(share, (top, left))[np.newaxis], taken)
        if over.max(initial=0) <= _MOST_OVERLAP:
            return top, left
    return None


def box_of(share: NDArray[np.float64], place: tuple[int, int] = (0, 0)) -> NDArray[np.float64]:
    """x1, y1, x2, y2 of the pixels that are the garment's, edges counted from the image's."""
    rows, columns = (np.flatnonzero((share >= SEEN).any(axis=axis)) for axis in (1, 0))
    top, left = place
    return np.array([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], float)


def _covered(share: NDArray[np.float64], place: tuple[int, int]) -> NDArray[np.bool_]:
    """[128, 128]: the pixels that are the garment's."""
    top, left = place
    whole = np.zeros((SIDE, SIDE), np.bool_)
    whole[top : top + len(share), left : left + len(share)] = share >= SEEN
    return whole


def paste(
    image: NDArray[np.float64],
    share: NDArray[np.float64],
    colour: NDArray[np.float64],
    place: tuple[int, int],
) -> None:
    """Paint over `image` where the garment is; its thin parts let the background through."""
    rows, columns = (slice(start, start + size) for start, size in zip(place, share.shape, strict=True))
    alpha = np.where(share >= SEEN, np.minimum(share / _OPAQUE, 1), 0)[..., np.newaxis]
    image[rows, columns] += alpha * (share[..., np.newaxis] * colour - image[rows, columns])


def scene_set(progress: Progress = silent) -> ImageSet:
    """Scenes made of what is learned from, and of what is held out; seeded images where neither is there."""
    return composed_set("garments of Fashion-MNIST pasted on photographs", CONSTANTS, _drawn, progress)


def composed_set(
    what: str, constants: object, drawn: Callable[[Pieces, int], Image], progress: Progress
) -> ImageSet:
    """Images that `drawn` makes of the pieces of either split; seeded ones where there are none.

    constants: what a change of would give other images.
    """
    try:
        pieces = {split: pieces_of(split, progress) for split in Split}
    except UnavailableError as error:
        return synthetic_set(str(error))
    return composed(what, ("fashion-mnist",), constants, drawn, pieces)


def _drawn(pieces: Pieces, number: int) -> Image:
    import PIL.Image

    return PIL.Image.fromarray(scene(pieces, FEEDS, number).image)
