"""COCO's mask AP (MODELS.md 2.6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_zoo.metrics.coco_matching import Annotation, CocoPrecision
from model_zoo.metrics.contract import not_installed
from model_zoo.metrics.objects import FoundMasks, TrueObjects
from runtime.errors import UsageError


class CocoMaskPrecision(CocoPrecision):
    """truth: TrueObjects with outlines and the image's size.     answer: FoundMasks of that size."""

    kind = "segm"

    def wanted(self, truth: TrueObjects) -> list[Annotation]:
        if truth.outlines is None:
            raise UsageError("mask AP wants objects with outlines, these have none; give instances_*.json")
        return [{"segmentation": outline} for outline in truth.outlines]

    def found(self, answer: FoundMasks) -> list[Annotation]:
        packed = [_mask().encode(np.asfortranarray(mask, np.uint8)) for mask in answer.masks]
        return [
            {
                "category_id": label,
                "score": score,
                "segmentation": mask,
                "bbox": _mask().toBbox(mask).tolist(),
            }
            for label, score, mask in zip(answer.labels.tolist(), answer.scores.tolist(), packed, strict=True)
        ]


def _mask() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise not_installed(error) from error
    return mask
