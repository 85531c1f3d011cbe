"""What SegLink's outputs mean: boxes of text, in any direction (MODELS.md 12).

Segments that links join are one line of text; a straight line through their centres gives its box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.detection import overlaps
from model_zoo.finite import finite
from model_zoo.seglink_layers import CROSS_LINKS, FINER, GEOMETRY, LOCAL_LINKS, NEIGHBOURS, SEGMENTS
from runtime.errors import GraphError
from runtime.tensors import Array

Boxes = NDArray[np.float64]
"""[boxes, 5]: centre x and y, width, height in pixels of the image, and the angle of the width in radians."""

Edges = NDArray[np.int64]
"""[edges, 2]: numbers of two cells."""

_AROUND = np.array([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])
_FINER = np.array([(dy, dx) for dy in (0, 1) for dx in (0, 1)])
_CHANNELS = {SEGMENTS: 1, GEOMETRY: 6, LOCAL_LINKS: NEIGHBOURS, CROSS_LINKS: FINER}


@dataclass(frozen=True)
class TextBoxes:
    """The share of text boxes, of both runs together, over which the other has one by `overlap` or more.

    maps:    height and width of the network's feature maps, the finest first.
    segment: the least probability of a segment that is shown.
    link:    the least probability of a link that joins two of them; either end may say so.
    """

    maps: tuple[tuple[int, int], ...]
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
        edges = np.concatenate([*self._local(of[LOCAL_LINKS]), *self._cross(of[CROSS_LINKS])])
        edges = edges[shown[edges].all(axis=1)]
        numbers = np.flatnonzero(shown)
        groups = components(len(numbers), np.searchsorted(numbers, edges))
        boxes = [box_of(of[GEOMETRY][numbers[group]].astype(np.float64)) for group in groups]
        return np.array(boxes).reshape(-1, 5)

    def _local(self, links: Array) -> Iterator[Edges]:
        """Links to the cells around a cell."""
        for start, (height, width) in zip(self._starts, self.maps, strict=True):
            cells, places = np.nonzero(links[start : start + height * width] >= self.link)
            rows, columns = np.divmod(cells, width)
            there = rows + _AROUND[places, 0], columns + _AROUND[places, 1]
            inside = (there[0] >= 0) & (there[0] < height) & (there[1] >= 0) & (there[1] < width)
            ends = np.stack([cells, there[0] * width + there[1]], axis=1)
            yield start + ends[inside]

    def _cross(self, links: Array) -> Iterator[Edges]:
        """Links to four cells of the next finer map; at its far edge, to the last four."""
        first = self._starts[1]
        for index in range(1, len(self.maps)):
            (height, width), (finer_height, finer_width) = self.maps[index], self.maps[index - 1]
            start = self._starts[index]
            cells, places = np.nonzero(links[start - first :][: height * width] >= self.link)
            rows, columns = np.divmod(cells, width)
            below = np.minimum(2 * rows, max(finer_height - 2, 0)) + _FINER[places, 0]
            beside = np.minimum(2 * columns, max(finer_width - 2, 0)) + _FINER[places, 1]
            ends = np.stack([start + cells, self._starts[index - 1] + below * finer_width + beside], axis=1)
            yield ends[(below < finer_height) & (beside < finer_width)]

    @property
    def _starts(self) -> list[int]:
        """The number of each map's first cell."""
        sizes = [height * width for height, width in self.maps]
        return [sum(sizes[:index]) for index in range(len(sizes))]

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
