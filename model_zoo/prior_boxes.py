"""The boxes that a single-shot detector's answers are relative to (MODELS.md 6.2, 6.3 and 7.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from model_zoo.detection_layers import PriorBoxes
from runtime.tensors import Array

VARIANCES = (0.1, 0.1, 0.2, 0.2)
"""What the offsets of a centre and of the sizes' logarithms are scaled by."""

Size = tuple[int, int]
"""Height and width."""


def prior_boxes(kinds: Sequence[PriorBoxes], cells: Sequence[Size], image: Size) -> Array:
    """[boxes, 4]: y, x, height and width as fractions of the image; source, row, column, then shape.

    kinds, cells: of each source its boxes, and how many rows and columns it has.
    """
    parts = [_of_source(boxes, size) for boxes, size in zip(kinds, cells, strict=True)]
    fractions: Array = np.concatenate(parts) / np.array([*image, *image])
    return fractions.astype(np.float32)


def _of_source(boxes: PriorBoxes, cells: Size) -> Array:
    """In pixels."""
    y, x = ((np.arange(count) + boxes.offset) * boxes.step for count in cells)
    shapes = np.array(list(_shapes(boxes)))
    found = np.empty((*cells, len(shapes), 4))
    found[..., 0] = y[:, np.newaxis, np.newaxis]
    found[..., 1] = x[:, np.newaxis]
    found[..., 2:] = shapes
    return found.reshape(-1, 4)


def _shapes(boxes: PriorBoxes) -> Iterator[tuple[float, float]]:
    """Height and width of each box in a cell."""
    least, most = int(boxes.min_size), int(boxes.max_size)  # as Caffe's layer cuts them down
    for side in (least, np.sqrt(least * most)):
        yield side, side
    for ratio in boxes.ratios:
        yield least / np.sqrt(ratio), least * np.sqrt(ratio)
        yield least * np.sqrt(ratio), least / np.sqrt(ratio)
