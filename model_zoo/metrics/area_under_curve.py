"""ROC AUC: how often an event scores higher than a non-event (MODELS.md 2.6)."""

from __future__ import annotations

import math
from array import array

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics.contract import Weights, is_broken


class AreaUnderCurve:
    """truth: whether it happened.     answer: its score.

    A tie counts one half, which is what trapezoids under the curve come to (Hanley and McNeil 1982). A broken
    answer puts an event below all others, and a non-event above.
    """

    def __init__(self) -> None:
        self._events = bytearray()
        self._scores = array("d")
        self._broken = 0
        self._places: NDArray[np.intp] | None = None

    @property
    def samples(self) -> int:
        return len(self._events)

    @property
    def broken(self) -> int:
        return self._broken

    def add(self, truth: bool, answer: float | None) -> None:
        happened = bool(truth)
        if answer is None or is_broken(answer):
            self._broken += 1
            answer = -math.inf if happened else math.inf
        self._events.append(happened)
        self._scores.append(float(answer))
        self._places = None

    def value(self, weights: Weights | None = None) -> float:
        """NaN where there are no events, or nothing else."""
        events = np.array(self._events, bool)
        counts = np.ones(len(events)) if weights is None else weights
        places = self._groups()
        groups = int(places.max(initial=-1)) + 1
        happened = np.bincount(places, counts * events, groups)
        not_happened = np.bincount(places, counts * ~events, groups)
        pairs = happened.sum() * not_happened.sum()
        below = np.cumsum(not_happened) - not_happened / 2
        return float(happened @ below / pairs) if pairs else math.nan

    def scores(self) -> NDArray[np.float64] | None:
        return None

    def _groups(self) -> NDArray[np.intp]:
        """Of each sample the place of its score among the different ones, from below."""
        if self._places is None:
            self._places = np.unique(np.array(self._scores), return_inverse=True)[1]
        return self._places
