"""COCO's average precision: matching by pycocotools, image by image, and what all images come to."""

from __future__ import annotations

import contextlib
import io
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics.contract import Weights, is_broken, not_installed
from model_zoo.metrics.objects import TrueObjects
from model_zoo.metrics.ranked import RankedHits, interpolated

_LEVELS = np.linspace(0, 1, 101)
_OVERLAPS = tuple(np.linspace(0.5, 0.95, 10).tolist())
_ALL_SIZES = [0, 1e5**2]
_IMAGE = 1

Annotation = dict[str, Any]


class CocoPrecision(ABC):
    """The mean over overlaps of 0.50, 0.55, ... 0.95 or others, over 101 levels of recall, and over classes.

    Lin et al. 2014. Equals `COCOeval.stats[0]`, or [1] of 0.50 alone: objects of all sizes, the best answers
    of an image and class only. Raises UnavailableError where pycocotools is not installed. A broken answer
    finds nothing.
    """

    kind = "bbox"
    most = 100

    def __init__(self, overlaps: Sequence[float] = _OVERLAPS) -> None:
        self._overlaps = np.array(overlaps)
        self._coco, self._evaluation = _pycocotools()
        self._hits = RankedHits()
        self._broken = 0

    @abstractmethod
    def wanted(self, truth: TrueObjects) -> list[Annotation]:
        """COCO's annotations, but for their numbers and what all kinds have in common."""

    @abstractmethod
    def found(self, answer: Any) -> list[Annotation]:
        """COCO's results: category_id, score, and what they are matched by."""

    @property
    def samples(self) -> int:
        return self._hits.images

    @property
    def broken(self) -> int:
        return self._broken

    def add(self, truth: TrueObjects, answer: Any) -> None:
        broken = is_broken(answer)
        self._broken += broken
        wanted = [{**common, **own} for common, own in zip(_common(truth), self.wanted(truth), strict=True)]
        self._hits.next_image()
        for matched in self._matched(truth, wanted, [] if broken else self.found(answer)):
            right = (matched["dtMatches"] > 0) & ~matched["dtIgnore"]
            wrong = (matched["dtMatches"] == 0) & ~matched["dtIgnore"]
            numbers = int(np.count_nonzero(np.asarray(matched["gtIgnore"]) == 0))
            scores = np.array(matched["dtScores"], np.float64)
            self._hits.add(matched["category_id"], numbers, scores, right, wrong)

    def value(self, weights: Weights | None = None) -> float:
        precisions = [interpolated(curve, _LEVELS).mean() for curve in self._hits.curves(weights)]
        return float(np.mean(precisions)) if precisions else math.nan

    def scores(self) -> NDArray[np.float64] | None:
        return None

    def _matched(
        self, truth: TrueObjects, wanted: list[Annotation], found: list[Annotation]
    ) -> list[Mapping[str, Any]]:
        """What COCOeval says of each class in one image."""
        results = [
            {"area": 0.0, "iscrowd": 0, **result, "id": number, "image_id": _IMAGE}
            for number, result in enumerate(found, 1)
        ]
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of its progress
            evaluation = self._evaluation(
                self._made(truth.size, wanted), self._made(truth.size, results), self.kind
            )
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [_ALL_SIZES], ["all"]
            evaluation.params.maxDets = [self.most]
            evaluation.params.iouThrs = self._overlaps
            evaluation.params.catIds = sorted({item["category_id"] for item in [*wanted, *results]})
            evaluation.evaluate()
        return [matched for matched in evaluation.evalImgs if matched is not None]

    def _made(self, size: tuple[int, int], annotations: Sequence[Annotation]) -> Any:
        coco = self._coco()
        coco.dataset = {
            "images": [{"id": _IMAGE, "height": size[0], "width": size[1]}],
            "annotations": list(annotations),
            "categories": [{"id": label} for label in sorted({item["category_id"] for item in annotations})],
        }
        coco.createIndex()
        return coco


def _common(truth: TrueObjects) -> list[Annotation]:
    boxes = upright_boxes(truth.corners)
    areas = boxes[:, 2] * boxes[:, 3] if truth.areas is None else truth.areas
    return [
        {
            "id": number + 1,
            "image_id": _IMAGE,
            "category_id": int(truth.labels[number]),
            "iscrowd": int(truth.ignored[number]),
            "bbox": boxes[number].tolist(),
            "area": float(areas[number]),
        }
        for number in range(len(truth))
    ]


def upright_boxes(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners [n, 4] as COCO has boxes: x, y, width, height."""
    corners = np.asarray(corners, np.float64).reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _pycocotools() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise not_installed(error) from error
    return COCO, COCOeval
