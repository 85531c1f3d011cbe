"""Wide & Deep taught from the census: who has more than 50,000 dollars a year."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_zoo.adam import Adam
from model_zoo.census import People, adult
from model_zoo.exam_parts import judged
from model_zoo.spec import Split
from model_zoo.training import Step, compiled
from model_zoo.wide_deep_feeds import numbered
from model_zoo.wide_deep_network import LAYERS, LOGITS, units_of_inputs
from model_zoo.wide_deep_seeded import seeded_weights
from model_zoo.wide_deep_tensorflow import columns_of, logit, variables_of
from runtime.progress import Progress, silent
from runtime.tensors import Feed

_EPOCHS = 8
_BATCH = 256
_RATE = 0.001
_WIDE = 0.1
"""Of the seeded deviation: what the wide part starts from, so that rare crosses say little at first."""


@dataclass(frozen=True)
class WideDeepLesson:
    """A Lesson (model_zoo.spec) over people who are not held out.

    weights: TensorFlow variables by the names of `wide_deep.shapes()`.
    """

    people: Mapping[Split, People]
    seed: int
    weights: Mapping[str, Any]
    adam: Adam
    step: Step
    inputs: Feed

    @classmethod
    def from_adult(cls, seed: int, progress: Progress = silent) -> WideDeepLesson:
        """Nothing learned yet; raises UnavailableError where Adult cannot be fetched."""
        people = adult(progress)
        return cls.of({split: people.of(split) for split in Split}, seed)

    @classmethod
    def of(cls, people: Mapping[Split, People], seed: int) -> WideDeepLesson:
        """Nothing learned yet; raises UnavailableError where TensorFlow is not installed."""
        weights = variables_of(_first_weights(seed))
        adam = Adam(weights, _RATE, {f"{LAYERS[0]}/kernel": 1 / units_of_inputs()})
        step = compiled(_step_of(weights, adam))
        return cls(people, seed, weights, adam, step, numbered(people[Split.CALIBRATION]))

    @property
    def state(self) -> Sequence[Any]:
        return self.adam.state

    @property
    def epochs(self) -> int:
        return _EPOCHS

    @property
    def steps(self) -> int:
        return -(-len(self._rich) // _BATCH)

    def epoch(self, number: int) -> Iterator[float]:
        """Everybody who is learned from, in an order of the epoch's own."""
        order = np.random.Generator(np.random.Philox([self.seed, number])).permutation(len(self._rich))
        rich = self._rich.astype(np.float32)
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            yield float(self.step(self.inputs["numbers"][rows], self.inputs["ids"][rows], rich[rows]))

    def scores(self) -> Mapping[str, float]:
        """Accuracy and area under the ROC curve over the people held out."""
        import tensorflow as tf

        people = self.people[Split.EVALUATION]
        inputs = numbered(people)
        found = logit(*columns_of(tf.constant(inputs["numbers"]), tf.constant(inputs["ids"])), self.weights)
        chances = tf.sigmoid(found[:, 0]).numpy()
        return judged(("binary-accuracy", "auc"), people.rich.tolist(), chances.tolist())

    @property
    def _rich(self) -> Any:
        return self.people[Split.CALIBRATION].rich


def _first_weights(seed: int) -> dict[str, Any]:
    """As seeded, but that almost nothing is believed yet."""
    return {
        name: array * np.float32(_WIDE if name.startswith(("linear/", LOGITS)) else 1)
        for name, array in seeded_weights(seed).items()
    }


def _step_of(weights: Mapping[str, Any], adam: Adam) -> Step:
    """From numbers, ids and labels [batch] to the loss, the mean cross entropy; changes the weights."""
    import tensorflow as tf

    def step(numbers: Any, ids: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            found = logit(*columns_of(numbers, ids), weights)
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, tf.squeeze(found, axis=1))
            loss = tf.reduce_mean(losses)
        adam.step(tape.gradient(loss, dict(weights)))
        return loss

    return step
