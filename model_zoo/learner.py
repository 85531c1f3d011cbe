"""The tensors of a network that learns, and Adam with a rate that rises and falls."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from model_zoo.adam import Adam
from model_zoo.layers import Shape
from model_zoo.seeded import seeded_normal
from runtime.tensors import Array

_WARM_UP = 0.15
_FIRST = 0.05  # of the highest rate
_LAST = 0.005  # so that more epochs than were meant do no harm, and still some good
_ONES = ("/gamma", "/moving_variance")


@dataclass(frozen=True)
class Learner:
    """Nothing learned yet when it is made.

    weights: TensorFlow variables, by name.
    adam:    over those that are learned: not a normalisation's statistics.
    rate:    Adam's, a TensorFlow variable; `highest` is the most it becomes.
    """

    weights: Mapping[str, Any]
    adam: Adam
    rate: Any
    highest: float

    @classmethod
    def of(
        cls,
        shapes: Mapping[str, Shape],
        seed: int,
        highest: float,
        zeros: Collection[str] = (),
        units: Mapping[str, float] = MappingProxyType({}),
    ) -> Learner:
        """For tensors of these shapes, `zeros` of which begin at 0; raises UnavailableError.

        units: of tensors whose values are not about 1: they begin so much larger, and move so much faster.
        """
        from exporters.tensorflow import import_tensorflow

        tensorflow = import_tensorflow()
        first = first_weights(shapes, seed, zeros)
        scales = {name: np.array(unit, np.float32) for name, unit in units.items()}
        weights = {
            name: tensorflow.Variable(array * scales[name] if name in scales else array)
            for name, array in first.items()
        }
        learned = {name: variable for name, variable in weights.items() if "/moving_" not in name}
        rate = tensorflow.Variable(0.0)
        return cls(weights, Adam(learned, rate, scales), rate, highest)

    def move_on(self, share: float) -> None:
        """Set the rate for when `share`, 0 to 1, of all steps is done."""
        self.rate.assign(self.highest * rate_at(min(share, 1.0)))


def rate_at(share: float) -> float:
    """Of the highest rate: it rises evenly, and falls as half a cosine (Loshchilov and Hutter 2017)."""
    if share < _WARM_UP:
        return _FIRST + (1 - _FIRST) * share / _WARM_UP
    return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * (share - _WARM_UP) / (1 - _WARM_UP))) / 2


def first_weights(shapes: Mapping[str, Shape], seed: int, zeros: Collection[str] = ()) -> dict[str, Array]:
    """Kernels as He et al. 2015 draw them ("Delving deep into rectifiers", equation 10); the rest 0 or 1."""
    return {name: _first(name, shape, seed, zero=name in zeros) for name, shape in shapes.items()}


def _first(name: str, shape: Shape, seed: int, *, zero: bool) -> Array:
    if name.endswith("/kernel") and not zero:
        return seeded_normal(name, shape, seed) * np.float32(math.sqrt(2 / math.prod(shape[:-1])))
    return np.full(shape, not zero and name.endswith(_ONES), np.float32)
