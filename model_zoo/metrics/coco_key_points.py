"""COCO's key point AP, by object key point similarity instead of overlap (MODELS.md 2.6)."""

from __future__ import annotations

import numpy as np

from model_zoo.metrics.coco_matching import Annotation, CocoPrecision
from model_zoo.metrics.objects import FoundPersons, TrueObjects
from runtime.errors import UsageError

_PERSON = 1


class CocoKeyPointPrecision(CocoPrecision):
    """truth: TrueObjects with COCO's 17 key points.     answer: FoundPersons, the best 20 of which count."""

    kind = "keypoints"
    most = 20

    def wanted(self, truth: TrueObjects) -> list[Annotation]:
        if truth.key_points is None:
            raise UsageError(
                "key point AP wants persons with key points, these have none; give person_keypoints_*.json"
            )
        visible = np.count_nonzero(truth.key_points[:, :, 2] > 0, axis=1)
        return [
            {"keypoints": points.reshape(-1).tolist(), "num_keypoints": int(number), "category_id": _PERSON}
            for points, number in zip(truth.key_points, visible, strict=True)
        ]

    def found(self, answer: FoundPersons) -> list[Annotation]:
        places = np.asarray(answer.places, np.float64)
        points = np.concatenate([places, np.ones((*places.shape[:2], 1))], axis=-1)
        return [
            {"category_id": _PERSON, "score": score, "keypoints": row.reshape(-1).tolist()}
            for score, row in zip(np.asarray(answer.scores).tolist(), points, strict=True)
        ]
