"""PCK, the percentage of correct key points (Yang and Ramanan 2013, section 6.1.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics.objects import FoundPersons, TrueObjects
from model_zoo.metrics.sums import ShareMetric
from runtime.errors import UsageError


class CorrectKeyPoints(ShareMetric):
    """truth: TrueObjects with key points.     answer: FoundPersons, one to each object, in the same order.

    How many of all labelled key points are found within `alpha` times the larger side of their object's box.
    Which object it is was told, so that the answers' scores do not count.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self._alpha = alpha

    def parts(self, truth: TrueObjects, answer: FoundPersons) -> tuple[float, ...]:
        points, places = _points(truth), np.asarray(answer.places, np.float64)
        if places.shape != points[..., :2].shape:
            raise UsageError(
                f"PCK wants places {list(points[..., :2].shape)}, one for each key point, got"
                f" {list(places.shape)}; answer with a row for each object, in the same order"
            )
        sides = (truth.corners[:, 2:] - truth.corners[:, :2]).max(axis=-1)
        apart = np.linalg.norm(places - points[..., :2], axis=-1)
        correct = (apart <= self._alpha * sides[:, np.newaxis]) & _labelled(truth)
        return float(correct.sum()), float(_labelled(truth).sum())

    def worst(self, truth: TrueObjects) -> tuple[float, ...]:
        return 0.0, float(_labelled(truth).sum())


def _points(truth: TrueObjects) -> NDArray[np.float64]:
    if truth.key_points is None:
        raise UsageError("PCK wants objects with key points, these have none; give TrueObjects that have")
    return truth.key_points


def _labelled(truth: TrueObjects) -> NDArray[np.bool_]:
    labelled: NDArray[np.bool_] = _points(truth)[..., 2] > 0
    return labelled
