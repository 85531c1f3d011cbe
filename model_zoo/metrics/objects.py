"""What there is in an image, and what may be answered to it beyond boxes (detection.Found)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.tensors import Array

Outline = Sequence[Sequence[float]] | Mapping[str, Any]
"""An object's pixels as COCO writes them: polygons of x, y, x, y, ..., or run lengths."""


@dataclass(frozen=True)
class TrueObjects:
    """The objects of one image.

    labels:  int64 [n], as the network numbers its classes; 0 is the background, which no object is.
    corners: x1, y1, x2, y2 [n, 4] in pixels of the image, 0 being its edge and not the middle of a pixel.
    ignored: [n]: neither wanted nor wrong to find (VOC's difficult ones, COCO's crowds).
    areas:   [n] in pixels, where the data says them; those of the boxes elsewhere.
    size:    height and width of the image.
    outlines: of each object, where there are masks.
    key_points: x, y and visibility (0: not labelled) [n, points, 3], where there are any.
    """

    labels: NDArray[np.int64]
    corners: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    areas: NDArray[np.float64] | None = None
    size: tuple[int, int] = (0, 0)
    outlines: tuple[Outline, ...] | None = None
    key_points: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FoundMasks:
    """Objects found in one image: labels int64 [n], scores [n], and of each its pixels [height, width]."""

    labels: NDArray[np.int64]
    scores: Array
    masks: Sequence[NDArray[np.bool_]]


@dataclass(frozen=True)
class FoundPersons:
    """Persons found in one image: scores [n], and x and y [n, points, 2] in its pixels."""

    scores: Array
    places: Array


@dataclass(frozen=True)
class TrueText:
    """The text in one image: polygons [corners, 2] in pixels; whether each has to be found ("###": no)."""

    outlines: tuple[NDArray[np.float64], ...]
    cared_for: NDArray[np.bool_]
