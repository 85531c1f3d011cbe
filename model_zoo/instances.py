"""What Mask R-CNN's outputs mean: objects in an image, each with a class, a score, a box and a mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.detection import Detection, Found
from model_zoo.finite import finite
from model_zoo.mask_rcnn_layers import OUTPUTS
from runtime.errors import GraphError
from runtime.tensors import Array

MASKED = 0.5
"""The probability from which a pixel is part of an object."""

_NOTHING = "it finds nothing"


@dataclass(frozen=True)
class FoundInstances(Found):
    """Found, and for each box a mask [boxes, rows, columns] of probabilities, spread over the box.

    Corners are fractions: 0 is the middle of the image's first pixel, 1 that of its last.
    """

    masks: Array

    def at(self, chosen: Array) -> FoundInstances:
        return FoundInstances(
            self.labels[chosen], self.scores[chosen], self.corners[chosen], self.masks[chosen]
        )


@dataclass(frozen=True)
class InstancesInImage(Found):
    """Found, in pixels of an image, and of each object its own [height, width] in it."""

    masks: Sequence[NDArray[np.bool_]]


def instances(outputs: Mapping[str, Array], samples: int) -> Sequence[FoundInstances]:
    """The objects of each image, the likeliest first, without those whose box is empty.

    Reads `scores` and `classes` [samples, N], `boxes` [.., 4] of y, x, y, x and `masks` [.., rows, columns].
    Raises GraphError for other outputs, CheckFailed for NaN in them.
    """
    if set(outputs) != set(OUTPUTS):
        raise GraphError(f"instances want outputs {', '.join(OUTPUTS)}; the graph gives {sorted(outputs)}")
    arrays = [finite(name, outputs[name][:samples], _NOTHING) for name in OUTPUTS]
    return list(map(_found, *arrays))


def _found(scores: Array, boxes: Array, classes: Array, masks: Array) -> FoundInstances:
    corners = boxes[:, [1, 0, 3, 2]]
    real = (scores > 0) & (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return FoundInstances(classes.astype(np.int64), scores, corners, masks).at(real)


INSTANCES = Detection(instances, "instances", "instance agreement")


def pasted(found: FoundInstances, height: int, width: int) -> Iterator[NDArray[np.bool_]]:
    """Of each object its pixels in an image of this height and width.

    Corners are rounded to pixels, and the mask is resized to what is between them, which is the reference's
    way (unmold_mask); what of it lies outside of the image is left out.
    """
    edges = _edges(found, height, width).astype(np.int64)
    for (left, top, right, bottom), mask in zip(edges, found.masks, strict=True):
        whole = np.zeros((height, width), np.bool_)
        if right > left and bottom > top:
            resized = _resized(mask, bottom - top, right - left) >= MASKED
            rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
            inside = whole[rows, columns]
            first_row, first_column = max(-top, 0), max(-left, 0)
            inside[:] = resized[first_row:, first_column:][: inside.shape[0], : inside.shape[1]]
        yield whole


def in_image(found: FoundInstances, height: int, width: int) -> InstancesInImage:
    """The same in an image of this height and width, the corners rounded as the reference does."""
    corners = _edges(found, height, width)
    return InstancesInImage(found.labels, found.scores, corners, tuple(pasted(found, height, width)))


def _edges(found: FoundInstances, height: int, width: int) -> NDArray[np.float64]:
    """Corners [boxes, 4] in whole pixels of an image, from its edge."""
    scale = np.array((width - 1, height - 1) * 2)
    edges: NDArray[np.float64] = np.rint(found.corners * scale + (0, 0, 1, 1))
    return edges


def _resized(mask: Array, height: int, width: int) -> Array:
    """Bilinear, pixels' middles matched, the edge going on beyond the outermost ones."""
    resized: Array = _interpolation(mask.shape[0], height) @ mask @ _interpolation(mask.shape[1], width).T
    return resized


def _interpolation(size: int, wanted: int) -> Array:
    """[wanted, size]: the share that each of `size` pixels has in each of the wanted ones."""
    places = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    weights: Array = np.maximum(1 - np.abs(places[:, np.newaxis] - np.arange(size)), 0)
    return weights
