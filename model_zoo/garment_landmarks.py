"""Where the key points of a garment are: six places on its outline that its mask alone tells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.backgrounds import Pixels
from model_zoo.garment_scenes import SEEN
from model_zoo.keypoints import KeyPoints

POINTS = ("left top", "right top", "left middle", "right middle", "left bottom", "right bottom")
"""Left and right as one looks at the garment, in the order of `landmarks`."""

_OUTLINE = ((0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5))

_FIFTHS = ((0.0, 0.2), (0.4, 0.6), (0.8, 1.0))

_TAPS = 7
"""A third of tf-cpn's, as the heat maps are a third as high and as wide."""

GARMENT_POINTS = KeyPoints(what="garment", taps=_TAPS, points=POINTS, limbs=_OUTLINE)


def landmarks(garment: Pixels) -> NDArray[np.float64]:
    """The points of one upright garment, x and y [6, 2] in its picture [height, width], 0 being the edge.

    Where the top, the middle and the bottom fifth of its area begin and end on the left and on the right: the
    mean of its rows' edges, a row at a border of fifths counting as far as it is inside. A pixel more or less
    at the outline moves a mean by a fraction of a pixel; the outermost pixel may then be one far away.
    """
    seen = garment >= SEEN
    areas = seen.sum(axis=1) / seen.sum()
    ends = areas.cumsum()
    left, right = seen.argmax(axis=1), seen.shape[1] - seen[:, ::-1].argmax(axis=1)
    middles = np.arange(len(seen)) + 0.5
    points = []
    for low, high in _FIFTHS:
        inside = np.clip(np.minimum(ends, high) - np.maximum(ends - areas, low), 0, None)
        row = np.average(middles, weights=inside)
        points += [(np.average(edge, weights=inside), row) for edge in (left, right)]
    return np.array(points)
