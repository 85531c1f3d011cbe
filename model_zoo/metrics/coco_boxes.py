"""COCO's box AP (MODELS.md 2.6)."""

from __future__ import annotations

import numpy as np

from model_zoo.detection import Found
from model_zoo.metrics.coco_matching import Annotation, CocoPrecision, upright_boxes
from model_zoo.metrics.objects import TrueObjects


class CocoBoxPrecision(CocoPrecision):
    """truth: TrueObjects, crowds ignored.     answer: Found, corners in pixels of the image."""

    kind = "bbox"

    def wanted(self, truth: TrueObjects) -> list[Annotation]:
        return [{} for _ in range(len(truth))]

    def found(self, answer: Found) -> list[Annotation]:
        boxes = upright_boxes(np.asarray(answer.corners, np.float64))
        return [
            {"category_id": label, "score": score, "bbox": box, "area": box[2] * box[3]}
            for label, score, box in zip(
                answer.labels.tolist(), answer.scores.tolist(), boxes.tolist(), strict=True
            )
        ]
