"""Photographs as what scenes are composed on, and such scenes as feeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from model_zoo import archives
from model_zoo.photographs import PHOTOGRAPH_ARCHIVES, ImageSet, decode, photographs
from model_zoo.samples import alternate, digest_of
from model_zoo.spec import Split

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
P = TypeVar("P")

_CALIBRATED = 512

FEEDS, JUDGED, LEARNED = range(3)
"""Begin the keys of scenes that are fed, judged, and learned from."""


def backgrounds(split: Split, shorter: int) -> tuple[Pixels, ...]:
    """The split's photographs [height, width, 3], the shorter side of so many pixels.

    Raises UnavailableError where they cannot be fetched.
    """
    return tuple(_small(decode(photograph.path), shorter) for photograph in alternate(photographs(), split))


def _small(image: Image, shorter: int) -> Pixels:
    import PIL.Image

    scale = shorter / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    return np.asarray(image.resize((width, height), PIL.Image.Resampling.BILINEAR))


def part_of(grounds: Sequence[Pixels], side: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """A square part [side, side, 3] of one of them, every other one mirrored."""
    whole = grounds[int(generator.integers(len(grounds)))]
    top, left = (int(generator.integers(size - side + 1)) for size in whole.shape[:2])
    part = whole[top : top + side, left : left + side]
    return np.array(part[:, ::-1] if generator.random() < 0.5 else part, np.float64)


def composed(
    what: str,
    names: Sequence[str],
    constants: object,
    drawn: Callable[[P, int], Image],
    pieces: Mapping[Split, P],
) -> ImageSet:
    """Images that `drawn` makes of the pieces of either split.

    names:     of the archives that the pieces come from, beside photographs.
    constants: what a change of would give other images.
    """
    import PIL

    members = [archives.contents(archives.fetch(name)) for name in (*names, *PHOTOGRAPH_ARCHIVES)]
    return ImageSet(
        f"{what}; those of evaluation are held out",
        False,
        digest_of(members, constants, PIL.__version__, np.__version__),
        {
            split: tuple(partial(drawn, found, k) for k in range(_CALIBRATED))
            for split, found in pieces.items()
        },
    )
