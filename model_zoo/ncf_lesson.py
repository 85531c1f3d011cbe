"""NCF taught from who took what: each item that a user took, against others that the user never took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_zoo.adam import Adam
from model_zoo.exam_parts import judged
from model_zoo.interactions import LeaveLastOut, movielens
from model_zoo.ncf_network import TABLES, Ncf
from model_zoo.ncf_tensorflow import logits
from model_zoo.seeded import seeded_normal
from model_zoo.spec import Split
from model_zoo.training import Step, compiled
from runtime.progress import Progress, silent
from runtime.tensors import Array

_EPOCHS = 14
_BATCH = 2048
_RATE = 0.003
_NEGATIVES = 4
"""Items never taken for each one taken (He et al. 2017, section 4.1)."""

_TABLE_DEVIATION = 0.05
_TABLE_BIAS = 0.1
"""A ReLU that cuts everything off learns nothing: at first, few values are."""


@dataclass(frozen=True)
class NcfLesson:
    """A Lesson (model_zoo.spec) over the interactions that are learned from.

    weights: TensorFlow variables by the names of `network.shapes()`.
    """

    network: Ncf
    rated: LeaveLastOut
    seed: int
    weights: Mapping[str, Any]
    adam: Adam
    step: Step

    @classmethod
    def from_movielens(cls, network: Ncf, seed: int, progress: Progress = silent) -> NcfLesson:
        """Nothing learned yet; raises UnavailableError where MovieLens 100K cannot be fetched."""
        return cls.of(network, movielens(progress), seed)

    @classmethod
    def of(cls, network: Ncf, rated: LeaveLastOut, seed: int) -> NcfLesson:
        """Nothing learned yet; raises UnavailableError where TensorFlow is not installed."""
        from exporters.tensorflow import import_tensorflow

        tensorflow = import_tensorflow()
        weights = {name: tensorflow.Variable(array) for name, array in _first_weights(network, seed)}
        adam = Adam(weights, _RATE)
        return cls(network, rated, seed, weights, adam, compiled(_step_of(network, weights, adam)))

    @property
    def state(self) -> Sequence[Any]:
        return self.adam.state

    @property
    def epochs(self) -> int:
        return _EPOCHS

    @property
    def steps(self) -> int:
        return -(-len(self.rated.training[0]) * (1 + _NEGATIVES) // _BATCH)

    def epoch(self, number: int) -> Iterator[float]:
        """Everything that was taken, each with other items that were not, in an order of the epoch's own."""
        users, items, labels = self._shuffled(number)
        for start in range(0, len(users), _BATCH):
            part = slice(start, start + _BATCH)
            yield float(self.step(users[part], items[part], labels[part]))

    def scores(self) -> Mapping[str, float]:
        """HR@10 and NDCG@10 of the last item of every user among the 99 others of its feeds."""
        import tensorflow as tf

        candidates = self.rated.all_candidates(Split.EVALUATION)
        users = np.repeat(self.rated.users, candidates.shape[1]).astype(np.int32)
        items = candidates.astype(np.int32).reshape(-1)
        found = logits(self.network, tf.constant(users), tf.constant(items), self.weights).numpy()
        return judged(("hr@10", "ndcg@10"), [0] * len(candidates), found.reshape(candidates.shape))

    def _shuffled(self, number: int) -> tuple[Array, Array, Array]:
        """Users, items and labels, 0 or 1, of an epoch."""
        generator = np.random.Generator(np.random.Philox([self.seed, number]))
        taken_users, taken_items = self.rated.training
        users = np.repeat(taken_users, _NEGATIVES)
        others = _never_taken(users, self._taken, generator)
        order = generator.permutation(len(taken_users) + len(users))
        labels = np.repeat(np.array([1, 0], np.float32), [len(taken_users), len(users)])
        return (
            np.concatenate([taken_users, users])[order],
            np.concatenate([taken_items, others])[order],
            labels[order],
        )

    @property
    def _taken(self) -> Array:
        """[users, items]: what is learned from. The item that is held out counts as never taken."""
        taken = np.zeros((self.network.users, self.network.items), bool)
        taken[self.rated.training] = True
        return taken


def _never_taken(users: Array, taken: Array, generator: np.random.Generator) -> Array:
    """For each of `users` an item, drawn anew until it is none that the user took."""
    items = np.empty(len(users), np.int32)
    to_draw = np.arange(len(users))
    while to_draw.size:
        items[to_draw] = generator.integers(0, taken.shape[1], to_draw.size)
        to_draw = to_draw[taken[users[to_draw], items[to_draw]]]
    return items


def _first_weights(network: Ncf, seed: int) -> Iterator[tuple[str, Array]]:
    for name, shape in network.shapes().items():
        table = name.split("/")[0] in TABLES
        if len(shape) == 1:
            yield name, np.full(shape, _TABLE_BIAS if table else 0, np.float32)
        else:
            deviation = _TABLE_DEVIATION if table else np.sqrt(2 / shape[0])
            yield name, seeded_normal(name, shape, seed) * np.float32(deviation)


def _step_of(network: Ncf, weights: Mapping[str, Any], adam: Adam) -> Step:
    """From users, items and labels [batch] to the loss, the mean cross entropy; changes the weights."""
    import tensorflow as tf

    def step(users: Any, items: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            found = logits(network, users, items, weights)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, found))
        adam.step(tape.gradient(loss, dict(weights)))
        return loss

    return step
