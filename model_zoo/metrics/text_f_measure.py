"""ICDAR 2015's f-measure of localised text (Karatzas et al. 2015, challenge 4, task 1; MODELS.md 2.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics.contract import not_installed
from model_zoo.metrics.objects import TrueText
from model_zoo.metrics.sums import SumMetric
from runtime.tensors import Array

_OVERLAP = 0.5
_INSIDE = 0.5


class TextFMeasure(SumMetric):
    """truth: TrueText.     answer: outlines of text found, [corners, 2] each, in pixels.

    2PR / (P + R) over all images together. Text and answers are paired in their order, one to one, where they
    overlap by more than half. An answer that lies by more than half inside of text nobody has to find counts
    for nothing. A broken answer finds nothing. Raises UnavailableError where shapely is not installed.
    """

    def parts(self, truth: TrueText, answer: Sequence[Array]) -> tuple[float, ...]:
        """Pairs, text to be found, answers that count."""
        there = [_polygon(outline) for outline in truth.outlines]
        found = [_polygon(outline) for outline in answer]
        cared_for = [polygon for polygon, cares in zip(there, truth.cared_for, strict=True) if cares]
        others = [polygon for polygon, cares in zip(there, truth.cared_for, strict=True) if not cares]
        counting = [polygon for polygon in found if not any(_inside(polygon, other) for other in others)]
        return float(_pairs(cared_for, counting)), float(len(cared_for)), float(len(counting))

    def worst(self, truth: TrueText) -> tuple[float, ...]:
        return 0.0, float(np.count_nonzero(truth.cared_for)), 0.0

    def of_sums(self, sums: NDArray[np.float64]) -> float:
        """NaN where there is no text to be found."""
        pairs, wanted, found = sums
        return float(2 * pairs / (wanted + found)) if wanted else math.nan


def _pairs(there: Sequence[Any], found: Sequence[Any]) -> int:
    taken: set[int] = set()
    for polygon in there:
        for number, other in enumerate(found):
            if number not in taken and _overlap(polygon, other) > _OVERLAP:
                taken.add(number)
                break
    return len(taken)


def _overlap(one: Any, other: Any) -> float:
    union = one.union(other).area
    return float(one.intersection(other).area / union) if union else 0.0


def _inside(polygon: Any, other: Any) -> bool:
    return bool(polygon.area and polygon.intersection(other).area / polygon.area > _INSIDE)


def _polygon(outline: Array) -> Any:
    """A shape without crossing sides: four corners in another order than around enclose two triangles."""
    try:
        import shapely
    except ImportError as error:
        raise not_installed(error) from error
    return shapely.make_valid(shapely.Polygon(np.asarray(outline, np.float64)))
