"""What SegLink should say of text whose boxes are known (Shi et al. 2017, sections 3.2 and 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.seglink_cells import Ends, cross_ends, local_ends
from model_zoo.seglink_layers import SegmentGeometry
from model_zoo.seglink_tensorflow import SMALLEST, VARIANCE, anchors_of
from model_zoo.text_boxes import Boxes

_MOST_RATIO = 1.5
"""Of an anchor's size and the height of a word that it has a segment of (equation 2)."""

Flags = NDArray[np.int32]


@dataclass(frozen=True)
class Truth:
    """Of one image.

    segments: [cells]: 1 where the cell has one, else 0.
    offsets:  [cells, 6]: what `SegmentGeometry` makes the segment of; 0 where there is none.
    local:    [cells, 8], 1 where a link is to be.
    cross:    [cells of all maps but the finest, 4], likewise.
    """

    segments: Flags
    offsets: NDArray[np.float32]
    local: Flags
    cross: Flags


def truth_of(boxes: Boxes, geometry: SegmentGeometry) -> Truth:
    """Of an image with these words, one at least.

    A cell has a segment of the word that its centre lies in, if the word is about as high as the map's
    segments are; links join segments of one word.
    """
    anchors, centres = anchors_of(geometry)
    along, across = _in_boxes(centres.astype(np.float64), boxes)
    ratios = anchors[:, 0] / boxes[:, 3, np.newaxis]
    ratios = np.maximum(ratios, 1 / ratios)
    inside = (abs(along) <= boxes[:, 2, np.newaxis] / 2) & (abs(across) <= boxes[:, 3, np.newaxis] / 2)
    ratios = np.where(inside, ratios, np.inf)
    words = np.where(ratios.min(axis=0) <= _MOST_RATIO, ratios.argmin(axis=0), -1)
    cells = np.flatnonzero(words >= 0)
    offsets = np.zeros((len(words), 6), np.float32)
    offsets[cells] = _offsets(boxes[words[cells]], along[words[cells], cells], anchors[cells], centres[cells])
    return Truth(
        (words >= 0).astype(np.int32),
        offsets,
        _linked(words, local_ends(geometry.maps)),
        _linked(words, cross_ends(geometry.maps)),
    )


def _in_boxes(points: NDArray[np.float64], boxes: Boxes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[boxes, points] each: how far a point lies along a box' width and height from its centre."""
    right, down = (points[:, axis] - boxes[:, axis, np.newaxis] for axis in (0, 1))
    cosine, sine = np.cos(boxes[:, 4, np.newaxis]), np.sin(boxes[:, 4, np.newaxis])
    return right * cosine + down * sine, down * cosine - right * sine


def _offsets(
    boxes: Boxes, along: NDArray[np.float64], anchors: NDArray[np.float32], centres: NDArray[np.float32]
) -> NDArray[np.float64]:
    """[cells, 6], given of each cell its word's box, and how far along that it lies.

    The paper turns the word to level about the cell's centre, cuts it where the anchor begins and ends, and
    turns it back. So a segment's centre is on the middle line of its word.
    """
    ends = np.stack([along - anchors[:, 0] / 2, along + anchors[:, 0] / 2])
    first, last = np.clip(ends, -boxes[:, 2] / 2, boxes[:, 2] / 2)
    turn = np.stack([np.cos(boxes[:, 4]), np.sin(boxes[:, 4])], axis=1)
    places = boxes[:, :2] + turn * (first + last)[:, np.newaxis] / 2
    sizes = np.stack([last - first, boxes[:, 3]], axis=1)
    parts = [(places - centres) / anchors, np.log((sizes + SMALLEST) / anchors), turn[:, ::-1]]
    found: NDArray[np.float64] = np.concatenate(parts, axis=1) / VARIANCE
    return found


def _linked(words: NDArray[np.int64], ends: Ends) -> Flags:
    """Where both cells have a segment of one word; `words` is -1 for a cell without one."""
    starts = words[len(words) - len(ends) :, np.newaxis]
    linked = (ends >= 0) & (starts >= 0) & (words[ends] == starts)
    return np.asarray(linked, np.int32)
