"""What a detector's outputs mean: boxes with a class and a score, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.detection_layers import LISTS
from model_zoo.finite import finite
from runtime.errors import GraphError
from runtime.tensors import Array

_ROW = 7
_NOTHING = "it finds nothing"
_WIDEST = float(np.log(1000 / 16))
"""The most that an offset may widen a box, as an exponent: where py-faster-rcnn's successor caps it."""


@dataclass(frozen=True)
class Found:
    """The boxes of one image: labels int64 [boxes], scores [boxes], corners x1, y1, x2, y2 [boxes, 4].

    Corners are in the units of the network: fractions of the image (SSD), or pixels (Faster R-CNN).
    """

    labels: NDArray[np.int64]
    scores: Array
    corners: Array

    def at(self, chosen: Array) -> Found:
        """Those that a mask or indices choose."""
        return Found(self.labels[chosen], self.scores[chosen], self.corners[chosen])


@dataclass(frozen=True)
class Detection:
    """How far two runs show a user the same objects: the share of boxes shown that both know of.

    Shown is a box with a score of `shown` or more. It has a counterpart in the other run if that has one of
    the same class, over it by `overlap` or more (VOC's rule for a hit), with a score of `seen` or more; the
    two scores keep a box at the very edge of being shown from deciding.

    names: of the classes, the background first; () where they are those of the family's data set.
    """

    read: Callable[[Mapping[str, Array], int], Sequence[Found]]
    name: str = "detection"
    agreement: str = "detection agreement"
    numeric: bool = False
    shown: float = 0.5
    seen: float = 0.25
    overlap: float = 0.5
    names: tuple[str, ...] = ()

    def agreeing(
        self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int
    ) -> NDArray[np.float64]:
        """[samples], 1 where neither run shows a box.

        Raises GraphError for other outputs than a detector's, CheckFailed for NaN in them.
        """
        pairs = zip(self.read(reference, samples), self.read(outputs, samples), strict=True)
        return np.array([self._share(a, b) for a, b in pairs])

    def _share(self, one: Found, other: Found) -> float:
        known = np.concatenate([self._known(one, other), self._known(other, one)])
        return float(known.mean()) if len(known) else 1.0

    def _known(self, those: Found, others: Found) -> NDArray[np.bool_]:
        """For each box that one run shows, whether the other knows of it."""
        shown, seen = those.at(those.scores >= self.shown), others.at(others.scores >= self.seen)
        hits = overlaps(shown.corners, seen.corners) >= self.overlap
        known: NDArray[np.bool_] = (hits & (shown.labels[:, None] == seen.labels)).any(axis=1)
        return known


def single_shot(outputs: Mapping[str, Array], samples: int) -> Sequence[Found]:
    """From Caffe's DetectionOutput, [1, 1, rows, 7] of image, label, score and corners, or lists by class.

    A row of label -1 says that nothing was found, and so does a score of 0 in TensorFlow's lists.
    """
    if outputs.keys() == set(LISTS):
        return list(_listed(*(finite(name, outputs[name], _NOTHING) for name in LISTS)))
    ((name, rows),) = outputs.items() if len(outputs) == 1 else (("", np.empty(0)),)
    if rows.ndim != 4 or rows.shape[-1] != _ROW:
        raise GraphError(
            f"detection wants one output [1, 1, rows, {_ROW}], or {' and '.join(LISTS)}; the graph gives"
            f" { ({name: list(array.shape) for name, array in outputs.items()}) }"
        )
    rows = finite(name, rows, _NOTHING).reshape(-1, _ROW)
    rows = rows[rows[:, 1] >= 0]
    found = Found(rows[:, 1].astype(np.int64), rows[:, 2], rows[:, 3:])
    return [found.at(rows[:, 0] == image) for image in range(samples)]


def _listed(scores: Array, boxes: Array) -> Iterator[Found]:
    """From scores [images, classes, rows], the background left out, and corners y, x, y, x [.., 4]."""
    for of_classes, corners in zip(scores, boxes, strict=True):
        label, row = np.nonzero(of_classes > 0)
        yield Found(label + 1, of_classes[label, row], corners[label, row][:, [1, 0, 3, 2]])


@dataclass(frozen=True)
class RegionClasses:
    """Faster R-CNN's host part: classes and refined boxes of regions (MODELS.md 10; lib/fast_rcnn/test.py).

    Of each class the boxes with a score above `threshold`, less those that overlap a better one by more than
    `overlap`, and of an image the best `most`. Pixels are those of the network's input; boxes are not cut
    off at the image's edge.
    """

    threshold: float = 0.05
    overlap: float = 0.3
    most: int = 100

    def __call__(self, outputs: Mapping[str, Array], samples: int) -> Sequence[Found]:
        """Reads `rois` [R, 5], `cls_prob` [R, C] and `bbox_pred` [R, 4 * C]."""
        wanted = ("rois", "cls_prob", "bbox_pred")
        if set(outputs) != set(wanted):
            raise GraphError(f"regions want outputs {', '.join(wanted)}; the graph gives {sorted(outputs)}")
        rois, scores, offsets = (finite(name, outputs[name], _NOTHING) for name in wanted)
        corners = refined(rois[:, 1:], offsets.reshape(*scores.shape, 4))
        images = rois[:, 0]
        return [self._best(scores[images == image], corners[images == image]) for image in range(samples)]

    def _best(self, scores: Array, corners: Array) -> Found:
        kept = [
            Found(np.full(len(rows), label, np.int64), scores[rows, label], corners[rows, label])
            for label in range(1, scores.shape[1])
            if len(rows := self._kept(scores[:, label], corners[:, label])) or label == 1
        ]
        found = Found(
            np.concatenate([part.labels for part in kept]),
            np.concatenate([part.scores for part in kept]),
            np.concatenate([part.corners for part in kept]),
        )
        return found.at(np.argsort(-found.scores, kind="stable")[: self.most])

    def _kept(self, scores: Array, corners: Array) -> NDArray[np.int64]:
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > self.threshold]
        return order[suppressed(corners[order], self.overlap)]


CALIBRATION_METHOD = "min-max+centre+correct"
"""Scores of detectors are rare and large: SSD's on ResNet-18 keep 24.6 dB with min-max, 22.6 with entropy and
21.4 with the mean squared error; 96 % of the boxes shown stay, against 94 and 93 (32 photographs each).

With the passes more of them stay where a network is deep: DSSD on ResNet-101 78.3 % for 72.6, SSD on
ResNet-50 93.5 for 92.5, on VGG-16 97.3 for 96.4, on ResNet-18 95.8 for 96.1 (12 to 24 photographs each).
"""

SINGLE_SHOT = Detection(single_shot)
REGIONS = Detection(RegionClasses())


def refined(regions: Array, offsets: Array) -> Array:
    """Corners [R, C, 4] of regions [R, 4], moved by each class's offsets [R, C, 4] (bbox_transform_inv)."""
    sizes = (regions[:, 2:] - regions[:, :2] + 1)[:, np.newaxis]
    centres = regions[:, np.newaxis, :2] + sizes / 2 + offsets[..., :2] * sizes
    halves = np.exp(np.minimum(offsets[..., 2:], _WIDEST)) * sizes / 2
    return np.concatenate([centres - halves, centres + halves], axis=-1)


def overlaps(first: Array, second: Array) -> Array:
    """Intersection over union of every box of [n, 4] with every one of [m, 4]; 0 where both are empty."""
    low = np.maximum(first[:, np.newaxis, :2], second[:, :2])
    high = np.minimum(first[:, np.newaxis, 2:], second[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    areas = [np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=-1) for boxes in (first, second)]
    union = areas[0][:, np.newaxis] + areas[1] - shared
    result: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def suppressed(corners: Array, overlap: float) -> NDArray[np.int64]:
    """Of boxes by falling score, the indices of those that overlap no kept one before by more than `overlap`.

    Sizes count the last pixel, as py-faster-rcnn's do.
    """
    ends = corners + np.array([0, 0, 1, 1], corners.dtype)
    over = overlaps(ends, ends) > overlap
    kept: list[int] = []
    for index in range(len(corners)):
        if not over[index, kept].any():
            kept.append(index)
    return np.array(kept, np.int64)
