"""One garment of Fashion-MNIST on a photograph, turned and slanted, 128x96, and where its key points are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_zoo import garment_scenes
from model_zoo.backgrounds import FEEDS, Pixels
from model_zoo.garment_landmarks import landmarks
from model_zoo.garment_scenes import SEEN, Pieces, background, box_of, colour_of, composed_set, paste
from model_zoo.photographs import ImageSet
from runtime.progress import Progress, silent

if TYPE_CHECKING:
    from PIL.Image import Image

HEIGHT, WIDTH = SIZE = (128, 96)

_DEGREES = 30.0
_SLANT = 0.25  # columns that a row lies to the right of the one below, at most
_STRETCH = 1.25  # of the width over the height, or of the height over the width, at most
_SHARES = (0.5, 0.9)  # of the crop's height or width, whichever the garment fills more of

CONSTANTS = (garment_scenes.CONSTANTS, SIZE, _DEGREES, _SLANT, _STRETCH, _SHARES)
"""What a change of would give other crops; part of their digest."""


@dataclass(frozen=True)
class Crop:
    """An image [128, 96, 3], and of its garment x1, y1, x2, y2 [4] and key points [6, 2], all in pixels."""

    image: Pixels
    corners: NDArray[np.float64]
    points: NDArray[np.float64]


@dataclass(frozen=True)
class Placing:
    """Where a picture comes to lie: the point p of it at `matrix` @ p + `offset`, x before y."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def placed(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same points [n, 2], in the crop."""
        moved: NDArray[np.float64] = points @ self.matrix.T + self.offset
        return moved

    def drawn(self, picture: Pixels) -> NDArray[np.float64]:
        """The crop [128, 96] in which a grey picture lies so, black around it."""
        import PIL.Image

        back = np.linalg.inv(self.matrix)
        rows = np.column_stack([back, -back @ self.offset])
        image = PIL.Image.fromarray(picture).transform(
            (WIDTH, HEIGHT),
            PIL.Image.Transform.AFFINE,
            tuple(rows.reshape(-1).tolist()),
            PIL.Image.Resampling.BILINEAR,
        )
        return np.asarray(image, np.float64)


def crop(pieces: Pieces, *key: int, varied: bool = False) -> Crop:
    """A garment on a part of a photograph; the same for the same pieces and key.

    varied: the photograph lies on any side, its colours in any order: few are then as good as many.
    """
    generator = np.random.Generator(np.random.Philox(list(key)))
    part = background(pieces, generator)
    if varied:
        part = np.rot90(part, int(generator.integers(4)))[..., generator.permutation(3)]
    image = part[:, :WIDTH]
    whole = pieces.garments[int(generator.integers(len(pieces.garments)))]
    garment = whole[:, ::-1] if generator.random() < 0.5 else whole
    placing = _placing(garment, generator)
    share = placing.drawn(garment)
    paste(image, share, colour_of(generator), (0, 0))
    return Crop(np.rint(image).astype(np.uint8), box_of(share), placing.placed(landmarks(garment)))


def _placing(garment: Pixels, generator: np.random.Generator) -> Placing:
    """Somewhere in the crop, as a whole."""
    matrix = _shape(*generator.uniform(-1, 1, 3).tolist())
    rows, columns = np.nonzero(garment >= SEEN)
    middles = (np.column_stack([columns, rows]) + 0.5) @ matrix.T
    reach = np.abs(matrix).sum(axis=1) / 2  # of a pixel from its middle
    low, high = middles.min(axis=0) - reach, middles.max(axis=0) + reach
    scale = generator.uniform(*_SHARES) * ((WIDTH, HEIGHT) / (high - low)).min()
    room = (WIDTH, HEIGHT) - scale * (high - low)
    return Placing(scale * matrix, generator.random(2) * room - scale * low)


def _shape(turn: float, slant: float, stretch: float) -> NDArray[np.float64]:
    """What is done to a garment, its size and its place aside; -1 to 1 each."""
    angle, factor = math.radians(_DEGREES * turn), math.sqrt(_STRETCH**stretch)
    turned = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    slanted = np.array([[1, _SLANT * slant], [0, 1]])
    matrix: NDArray[np.float64] = turned @ slanted @ np.diag([factor, 1 / factor])
    return matrix


def crop_set(progress: Progress = silent) -> ImageSet:
    """Crops of what is learned from, and of what is held out; seeded images where neither is there."""
    what = "single garments of Fashion-MNIST on photographs, turned and slanted"
    return composed_set(what, CONSTANTS, _drawn, progress)


def _drawn(pieces: Pieces, number: int) -> Image:
    import PIL.Image

    return PIL.Image.fromarray(crop(pieces, FEEDS, number).image)
