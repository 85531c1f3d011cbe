"""COCO's mask AP (MODELS.md 2.6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics.coco_matching import Annotation, CocoPrecision
from model_zoo.metrics.contract import not_installed
from model_zoo.metrics.objects import FoundMasks, Outline, TrueObjects
from runtime.errors import UsageError


class CocoMaskPrecision(CocoPrecision):
    """truth: TrueObjects with outlines and the image's size.     answer: FoundMasks of that size."""

    kind = "segm"

    def wanted(self, truth: TrueObjects) -> list[Annotation]:
        if truth.outlines is None:
            raise UsageError("mask AP wants objects with outlines, these have none; give instances_*.json")
        return [{"segmentation": outline} for outline in truth.outlines]

    def found(self, answer: FoundMasks) -> list[Annotation]:
        outlines = map(run_lengths, answer.masks)
        return [
            {
                "category_id": label,
                "score": score,
                "segmentation": outline,
                "bbox": _mask().toBbox(outline).tolist(),
            }
            for label, score, outline in zip(
                answer.labels.tolist(), answer.scores.tolist(), outlines, strict=True
            )
        ]


def run_lengths(mask: NDArray[np.bool_]) -> Outline:
    """The pixels [height, width] as COCO packs them; raises UnavailableError without pycocotools."""
    packed: Outline = _mask().encode(np.asfortranarray(mask, np.uint8))
    return packed


def _mask() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise not_installed(error) from error
    return mask
