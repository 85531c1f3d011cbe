"""Garments of Fashion-MNIST pasted on photographs: scenes for detectors, 128x128, with a box for each.

What is judged is made of other garments and of other photographs than what is learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_zoo import archives
from model_zoo.detection import overlaps
from model_zoo.fashion_mnist import CLASSES, FashionMnist, Pictures, fashion_mnist
from model_zoo.photographs import ImageSet, decode, photographs, synthetic_set
from model_zoo.samples import alternate, digest_of
from model_zoo.spec import Split
from runtime.errors import UnavailableError
from runtime.progress import Progress, silent

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]

SIDE = 128
KINDS = ("T-shirt/top", "trouser", "bag", "ankle boot")
"""Labels 1 to 4: kinds that a person tells apart at a glance; 0 is the background."""

_BACKGROUND_SIDE = 176
_MOST = 4
_SIZES = (32, 64)  # pixels of the square that a garment is drawn in
_SEEN = 24  # grey from which a pixel is the garment's
_OPAQUE = 64
_DARKEST = 0.4
_TRIES = 20
_MOST_OVERLAP = 0.1
_CALIBRATED = 512

CONSTANTS = (SIDE, KINDS, _BACKGROUND_SIDE, _MOST, _SIZES, _SEEN, _OPAQUE, _DARKEST, _MOST_OVERLAP)
"""What a change of would give other scenes; part of their digest."""


@dataclass(frozen=True)
class Scene:
    """An image [128, 128, 3], and of each garment in it the label, and x1, y1, x2, y2 [n, 4] in pixels."""

    image: Pixels
    labels: NDArray[np.int64]
    corners: NDArray[np.float64]


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
    found = [_small(decode(photograph.path)) for photograph in alternate(photographs(), split)]
    return chosen(fashion_mnist(), split, found)


def chosen(fashion: FashionMnist, split: Split, backgrounds: Sequence[Pixels]) -> Pieces:
    """The garments of the four kinds: those that are learned from, or the held-out ones."""
    pictures: Pictures = fashion.test if split is Split.EVALUATION else fashion.training
    kinds = np.array([KINDS.index(name) + 1 if name in KINDS else 0 for name in CLASSES])[pictures.labels]
    return Pieces(pictures.images[kinds > 0], kinds[kinds > 0], tuple(backgrounds))


def _small(image: Image) -> Pixels:
    """Its shorter side as long as a background's."""
    import PIL.Image

    scale = _BACKGROUND_SIDE / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    return np.asarray(image.resize((width, height), PIL.Image.Resampling.BILINEAR))


def scene(pieces: Pieces, *key: int) -> Scene:
    """One to four garments on a part of a photograph; the same for the same pieces and key."""
    generator = np.random.Generator(np.random.Philox(list(key)))
    image = _background(pieces, generator)
    labels: list[int] = []
    corners = np.empty((0, 4))
    for _ in range(int(generator.integers(1, _MOST + 1))):
        index = int(generator.integers(len(pieces.kinds)))
        side = int(generator.integers(*_SIZES, endpoint=True))
        share = _share(pieces.garments[index], side, mirrored=bool(generator.random() < 0.5))
        colour = _DARKEST + (1 - _DARKEST) * generator.random(3)
        place = _free_place(share, corners, generator)
        if place is not None:
            _paste(image, share, colour, place)
            labels.append(int(pieces.kinds[index]))
            corners = np.concatenate([corners, _box(share, place)[np.newaxis]])
    return Scene(np.rint(image).astype(np.uint8), np.array(labels, np.int64), corners)


def _background(pieces: Pieces, generator: np.random.Generator) -> NDArray[np.float64]:
    whole = pieces.backgrounds[int(generator.integers(len(pieces.backgrounds)))]
    top, left = (int(generator.integers(size - SIDE + 1)) for size in whole.shape[:2])
    part = whole[top : top + SIDE, left : left + SIDE]
    return np.array(part[:, ::-1] if generator.random() < 0.5 else part, np.float64)


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
        over = overlaps(_box(share, (top, left))[np.newaxis], taken)
        if over.max(initial=0) <= _MOST_OVERLAP:
            return top, left
    return None


def _box(share: NDArray[np.float64], place: tuple[int, int]) -> NDArray[np.float64]:
    """x1, y1, x2, y2 of the pixels that are the garment's, edges counted from the image's."""
    rows, columns = (np.flatnonzero((share >= _SEEN).any(axis=axis)) for axis in (1, 0))
    top, left = place
    return np.array([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], float)


def _paste(
    image: NDArray[np.float64],
    share: NDArray[np.float64],
    colour: NDArray[np.float64],
    place: tuple[int, int],
) -> None:
    """Paint over `image` where the garment is; its thin parts let the background through."""
    side = len(share)
    rows, columns = (slice(start, start + side) for start in place)
    alpha = np.where(share >= _SEEN, np.minimum(share / _OPAQUE, 1), 0)[..., np.newaxis]
    image[rows, columns] += alpha * (share[..., np.newaxis] * colour - image[rows, columns])


def scene_set(progress: Progress = silent) -> ImageSet:
    """Scenes made of what is learned from, and of what is held out; seeded images where neither is there."""
    try:
        pieces = {split: pieces_of(split, progress) for split in Split}
    except UnavailableError as error:
        return synthetic_set(str(error))
    import PIL

    members = [
        archives.contents(archives.fetch(name))
        for name in ("fashion-mnist", "imagenet-photographs", "colour-photographs")
    ]
    return ImageSet(
        "garments of Fashion-MNIST pasted on photographs; those of evaluation are held out",
        False,
        digest_of(members, CONSTANTS, PIL.__version__, np.__version__),
        {
            split: tuple(partial(_drawn, found, FEEDS, k) for k in range(_CALIBRATED))
            for split, found in pieces.items()
        },
    )


FEEDS, JUDGED, LEARNED = range(3)
"""Begin the keys of scenes that are fed, judged, and learned from."""


def _drawn(pieces: Pieces, *key: int) -> Image:
    import PIL.Image

    return PIL.Image.fromarray(scene(pieces, *key).image)
