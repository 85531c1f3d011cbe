"""Teaching a network of behaviour what MovieLens' users like (see `behaviour_movielens`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.behaviour import Moments
from model_zoo.behaviour_layers import Tensor
from model_zoo.behaviour_movielens import JUDGED_TOGETHER, Ratings, popularity, ratings
from model_zoo.exam_parts import judged, slices
from model_zoo.layers import Shape
from model_zoo.seeded import seeded_normal
from model_zoo.spec import Split
from model_zoo.training import compiled
from runtime.progress import Progress
from runtime.tensors import Array, Feed

_FIRST_EMBEDDING = 0.05
_FIRST_VALUES: Mapping[str, float] = {"gamma": 1.0, "moving_variance": 1.0, "alpha": 0.1}
_GATE_BIAS = 1.0

_NOT_LEARNED = frozenset({"moving_mean", "moving_variance"})
"""The reference never updates statistics, for it normalises without saying that it trains."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast; `decay` is of the weights, per step and in units of the rate (AdamW)."""

    epochs: int
    batch_size: int = 256
    rate: float = 1e-3
    decay: float = 0.0


@dataclass(frozen=True)
class Pupil:
    """The network to teach.

    shapes:  of all its tensors.
    feed_of: what it reads of moments with an axis of samples.
    logit:   from its tensors and a feed to the logit of a like, [samples].
    """

    shapes: Mapping[str, Shape]
    feed_of: Callable[[Moments], Feed]
    logit: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]


class LikeLesson:
    """A Lesson (model_zoo.spec): Adam on the cross-entropy of likes, in an order that the seed decides."""

    def __init__(self, pupil: Pupil, recipe: Recipe, seed: int, progress: Progress) -> None:
        import tensorflow as tf

        self._pupil, self._recipe, self._seed = pupil, recipe, seed
        self._parts = ratings(progress)
        first = first_weights(pupil.shapes, seed)
        self._variables = {name: tf.Variable(array, name=name) for name, array in first.items()}
        self._learned = [
            variable
            for name, variable in self._variables.items()
            if name.rpartition("/")[2] not in _NOT_LEARNED
        ]
        self._optimizer = tf.keras.optimizers.AdamW(recipe.rate, weight_decay=recipe.decay)
        self._optimizer.build(self._learned)
        self._step = compiled(self._learn)
        self._logit = compiled(lambda feed: pupil.logit(self._variables, feed))

    @property
    def weights(self) -> Mapping[str, Any]:
        return self._variables

    @property
    def state(self) -> Sequence[Any]:
        return self._optimizer.variables  # type: ignore[no-any-return]

    @property
    def epochs(self) -> int:
        return self._recipe.epochs

    @property
    def steps(self) -> int:
        return len(self._parts[Split.CALIBRATION]) // self._recipe.batch_size

    def epoch(self, number: int) -> Iterator[float]:
        """As Lesson.epoch; what is left over of the last batch comes another time."""
        known, size = self._parts[Split.CALIBRATION], self._recipe.batch_size
        key = np.random.SeedSequence((self._seed, number))
        order = np.random.Generator(np.random.Philox(key)).permutation(len(known))
        for start in range(0, self.steps * size, size):
            rows = order[start : start + size]
            feed = self._pupil.feed_of(known.of(rows))
            yield float(self._step(feed, known.liked[rows].astype(np.float32)))

    def scores(self) -> Mapping[str, float]:
        """As Lesson.scores, beside what one gets without the user: the share of likes of each film."""
        known, asked = self._parts[Split.CALIBRATION], self._parts[Split.EVALUATION]
        return {
            "AUC": _area_under_curve(asked, self._answers(asked)),
            "AUC of the films' mean": _area_under_curve(asked, popularity(known, asked)),
        }

    def _answers(self, asked: Ratings) -> NDArray[np.float32]:
        batches = slices(len(asked), JUDGED_TOGETHER)
        found = [self._logit(self._pupil.feed_of(asked.of(rows))).numpy() for rows in batches]
        return np.concatenate(found)

    def _learn(self, feed: Mapping[str, Tensor], liked: Tensor) -> Tensor:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logit = self._pupil.logit(self._variables, feed)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(liked, logit))
        self._optimizer.apply(tape.gradient(loss, self._learned))
        return loss


def _area_under_curve(asked: Ratings, scores: Array) -> float:
    return judged(("auc",), asked.liked.tolist(), scores.tolist())["AUC"]


def first_weights(shapes: Mapping[str, Shape], seed: int) -> dict[str, Array]:
    """What a network begins with: tensors that keep the size of what passes through them."""
    return {name: _first(name, shape, seed) for name, shape in shapes.items()}


def _first(name: str, shape: Shape, seed: int) -> Array:
    layer, _, part = name.rpartition("/")
    if len(shape) == 2:
        deviation = 1 / math.sqrt(shape[0]) if part == "kernel" else _FIRST_EMBEDDING
        return seeded_normal(f"behaviour/{name}", shape, seed) * np.float32(deviation)
    gates = part == "bias" and layer.endswith("gates")
    return np.full(shape, _GATE_BIAS if gates else _FIRST_VALUES.get(part, 0.0), np.float32)
