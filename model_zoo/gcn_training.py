"""GCN taught from the classes of 20 papers of each (Kipf and Welling 2017, sections 5.1 and 5.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from model_zoo.citations import Citations
from model_zoo.gcn_feeds import network_of_papers, normalised_rows, word_matrix
from model_zoo.gcn_network import FIRST, Form, Gcn
from model_zoo.gcn_tensorflow import logits
from model_zoo.seeded import seeded_uniform
from model_zoo.training import compiled
from runtime.progress import Progress
from runtime.tensors import Array

_RATE = 0.01
_WEIGHT_DECAY = 5e-4  # of the first kernel alone
_DROPPED = 0.5
_EPOCHS, _STEPS = 20, 10  # together the 200 steps of the paper, over all papers at once


def lesson(network: Gcn, seed: int, progress: Progress) -> GcnLesson:
    """A network that knows nothing yet, and its papers; raises UnavailableError where there are none."""
    return GcnLesson(network, network_of_papers(network, progress), seed)


class GcnLesson:
    """See model_zoo.spec.Lesson. Words and hidden features are dropped out by half in every step."""

    def __init__(self, network: Gcn, found: Citations, seed: int) -> None:
        import tensorflow as tf

        self._network = replace(network, form=Form.EDGES)
        self._found = found
        self._seed = seed
        self._weights = {
            name: tf.Variable(_glorot(name, shape, seed), name=name)
            for name, shape in network.shapes().items()
        }
        self._optimizer = tf.keras.optimizers.Adam(_RATE)
        self._optimizer.build(list(self._weights.values()))
        places, links = found.adjacency()
        self._links = (tf.constant(places[np.newaxis], tf.int32), tf.constant(links[np.newaxis]))
        self._words = tf.constant(word_matrix(found, normalised_rows(found, found.values))[np.newaxis])
        self._step = compiled(self._one_step)

    @property
    def weights(self) -> Mapping[str, Any]:
        return self._weights

    @property
    def state(self) -> Sequence[Any]:
        return tuple(self._optimizer.variables)

    @property
    def epochs(self) -> int:
        return _EPOCHS

    @property
    def steps(self) -> int:
        return _STEPS

    def epoch(self, number: int) -> Iterator[float]:
        import tensorflow as tf

        for step in range(number * _STEPS, (number + 1) * _STEPS):
            yield float(self._step(tf.constant(step)))

    def scores(self) -> Mapping[str, float]:
        classes = self.classes()[self._found.tested]
        return {"accuracy": float((classes == self._found.subjects[self._found.tested]).mean())}

    def classes(self) -> Array:
        """[papers]: the likeliest class of each as the weights are now."""
        scores = self._logits(self._words)
        return scores.numpy().argmax(axis=-1)  # type: ignore[no-any-return]

    def _logits(self, words: Any, **dropped: Any) -> Any:
        return logits(self._network, (words, *self._links), self._weights, **dropped)[0]

    def _one_step(self, step: Any) -> Any:
        import tensorflow as tf

        def dropped(tensor: Any, place: int) -> Any:
            return tf.nn.experimental.stateless_dropout(tensor, _DROPPED, seed=[self._seed * 2 + place, step])

        with tf.GradientTape() as tape:
            scores = self._logits(dropped(self._words, 0), dropped=lambda hidden: dropped(hidden, 1))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                tf.gather(self._found.subjects, self._found.trained),
                tf.gather(scores, self._found.trained),
            )
            decay = _WEIGHT_DECAY * tf.nn.l2_loss(self._weights[FIRST])
            loss = tf.reduce_mean(losses) + decay
        variables = list(self._weights.values())
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss


def _glorot(name: str, shape: tuple[int, ...], seed: int) -> Array:
    limit = math.sqrt(6 / sum(shape))
    return seeded_uniform(f"{name} before training", shape, -limit, limit, seed)
