"""What SegLink's outputs mean: boxes of text, in any direction (MODELS.md 12).

Segments that links join are one line of text; a straight line through their centres gives its box.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.detection import overlaps
from model_zoo.finite import finite
from model_zoo.seglink_cells import Ends, Maps, cross_ends, local_ends
from model_zoo.seglink_layers import CROSS_LINKS, FINER, GEOMETRY, LOCAL_LINKS, NEIGHBOURS, SEGMENTS
from runtime.errors import GraphError
from runtime.tensors import Array

Boxes = NDArray[np.float64]
"""[boxes, 5]: centre x and y, width, height in pixels of the image, and the angle of the width in radians."""

Edges = NDArray[np.int64]
"""[edges, 2]: numbers of two cells."""

_CHANNELS = {SEGMENTS: 1, GEOMETRY: 6, LOCAL_LINKS: NEIGHBOURS, CROSS_LINKS: FINER}


@dataclass(frozen=True)
class TextBoxes:
    """The share of text boxes, of both runs together, over which the other has one by `overlap` or more.

    maps:    height and width of the network's feature maps, the finest first.
    segment: the least probability of a segment that is shown.
    link:    the least probability of a link that joins two of them; either end may say so.
    """

    maps: Maps
    name: str = "text boxes"
    agreement: str = "text box agreement"
    numeric: bool = True
    segment: float = 0.9
    link: float = 0.7
    overlap: float = 0.5

    def agreeing(
        self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int
    ) -> NDArray[np.float64]:
        """[samples], 1 where neither run shows a box; raises what `read` raises."""
        pairs = zip(self.read(reference, samples), self.read(outputs, samples), strict=True)
        return np.array([self._share(one, other) for one, other in pairs])

    def read(self, outputs: Mapping[str, Array], samples: int) -> list[Boxes]:
        """The boxes of each image.

        Raises GraphError for other outputs than SegLink's on such maps, CheckFailed for NaN in them.
        """
        arrays = {name: self._checked(outputs, name, samples) for name in _CHANNELS}
        return [
            self._boxes({name: array[image] for name, array in arrays.items()}) for image in range(samples)
        ]

    def _boxes(self, of: Mapping[str, Array]) -> Boxes:
        shown = of[SEGMENTS][:, 0] >= self.segment
        edges = np.concatenate(
            [
                self._edges(of[LOCAL_LINKS], local_ends(self.maps)),
                self._edges(of[CROSS_LINKS], cross_ends(self.maps)),
            ]
        )
        edges = edges[shown[edges].all(axis=1)]
        numbers = np.flatnonzero(shown)
        groups = components(len(numbers), np.searchsorted(numbers, edges))
        boxes = [box_of(of[GEOMETRY][numbers[group]].astype(np.float64)) for group in groups]
        return np.array(boxes).reshape(-1, 5)

    def _edges(self, links: Array, ends: Ends) -> Edges:
        """The links [cells, places] that are shown, from a cell to one of its `ends`."""
        cells, places = np.nonzero((links >= self.link) & (ends >= 0))
        first = len(local_ends(self.maps)) - len(links)
        return np.stack([first + cells, ends[cells, places]], axis=1)

    def _checked(self, outputs: Mapping[str, Array], name: str, samples: int) -> Array:
        maps = self.maps[1:] if name == CROSS_LINKS else self.maps
        wanted = (samples, sum(height * width for height, width in maps), _CHANNELS[name])
        array = outputs.get(name)
        if array is None or array.shape != wanted:
            raise GraphError(
                f"text boxes want an output {name!r} {list(wanted)}, the graph gives"
                f" { ({name: list(array.shape) for name, array in outputs.items()}) }"
            )
        return finite(name, array, "it finds no text")

    def _share(self, one: Boxes, other: Boxes) -> float:
        """Of the boxes around the text boxes, sides upright: a turn of a few degrees changes little."""
        hits = overlaps(upright(one), upright(other)) >= self.overlap
        known = np.concatenate([hits.any(axis=1), hits.any(axis=0)])
        return float(known.mean()) if len(known) else 1.0


def components(number: int, edges: Edges) -> list[NDArray[np.int64]]:
    """The connected ones of `number` nodes together, by their lowest node."""
    parents = list(range(number))

    def root(node: int) -> int:
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for one, other in edges.tolist():
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    roots = np.array([root(node) for node in range(number)], np.int64)
    return [np.flatnonzero(roots == first) for first in np.unique(roots)]


def box_of(segments: NDArray[np.float64]) -> NDArray[np.float64]:
    """One box for segments [segments, 6] of a line of text: the mean slope, through the mean centre.

    It reaches from the first to the last projected centre, and half the width of that segment further.
    """
    sine, cosine = segments[:, 4].mean(), segments[:, 5].mean()
    slope = sine / cosine if cosine else 0.0
    centres = segments[:, :2]
    offset = (centres[:, 1] - slope * centres[:, 0]).mean()
    along = (centres[:, 0] + slope * (centres[:, 1] - offset)) / (1 + slope**2)
    ends = along[[along.argmin(), along.argmax()]]
    middle = ends.mean()
    length = (ends[1] - ends[0]) * np.hypot(1, slope)
    width = length + segments[[along.argmin(), along.argmax()], 2].mean()
    return np.array([middle, slope * middle + offset, width, segments[:, 3].mean(), np.arctan(slope)])


def corners(boxes: Boxes) -> NDArray[np.float64]:
    """The four corners [boxes, 4, 2], clockwise on the screen from the upper left of the text."""
    halves = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2 * boxes[:, np.newaxis, 2:4]
    cosine, sine = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    turns = np.stack([np.stack([cosine, sine], axis=-1), np.stack([-sine, cosine], axis=-1)], axis=1)
    found: NDArray[np.float64] = halves @ turns + boxes[:, np.newaxis, :2]
    return found


def upright(boxes: Boxes) -> NDArray[np.float64]:
    """The smallest boxes of upright sides around them: x1, y1, x2, y2."""
    found = corners(boxes)
    return np.concatenate([found.min(axis=1), found.max(axis=1)], axis=-1)
