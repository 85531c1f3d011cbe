"""Probabilities and scores as answers: a click or none, one candidate before another.

Shared by the recommenders (MODELS.md 14, 15, 16).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.finite import finite
from model_zoo.tasks import Answering
from runtime.errors import GraphError
from runtime.tensors import Array


@dataclass(frozen=True)
class Probability(Answering):
    """Whether the event is the more likely outcome: its probability lies above 0.5, or its logit above 0.

    output: the output to read, where there are several; "" where there is one.
    column: of the output's values, [samples, values], the one that is the probability.
    even:   the value at which both outcomes are as likely.
    """

    output: str = ""
    column: int = 0
    name: str = "probability"
    agreement: str = "same side of 0.5"
    even: float = 0.5

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, 1]: 1 where the event is the more likely outcome, else 0.

        Raises GraphError for other outputs, CheckFailed for NaN or infinity in them.
        """
        values = _values(self.name, outputs, self.output)
        if values.shape[1] <= self.column:
            raise GraphError(
                f"{self.name} reads value {self.column} of each sample, the graph gives {values.shape[1]}"
            )
        return (values[:, self.column, np.newaxis] > self.even).astype(np.int64)


@dataclass(frozen=True)
class Preference(Answering):
    """Which of two candidates has the higher score; the first of equals."""

    name: str = "preference"
    agreement: str = "same preference"

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, 1]: 0 for the first candidate, 1 for the second, of the only output, [samples, 2].

        Raises GraphError for other outputs, CheckFailed for NaN or infinity in them.
        """
        scores = _values(self.name, outputs, "")
        if scores.shape[1] != 2:
            raise GraphError(
                f"{self.name} wants two scores of each sample, the graph gives {scores.shape[1]}"
            )
        return (scores[:, 1:] > scores[:, :1]).astype(np.int64)


PROBABILITY = Probability()

CLICK = Probability(name="click", agreement="click agreement", even=0.0)
"""Whether a user will more likely take an item than leave it, by its logit.

A recommender is judged by the ten best of a user's hundred candidates (`ranking`), which takes all of them
in one batch; a batch of 1 has nothing to rank, and one of 256 cuts a user's candidates in two. This answer is
of one row, so it is the same at every batch size, and stricter than the ten best in one respect: a precision
that moves all logits alike keeps their order, and yet changes answers.
"""

PREFERENCE = Preference()


def _values(task: str, outputs: Mapping[str, Array], output: str) -> Array:
    """The chosen output as [samples, values]."""
    name = output or (next(iter(outputs)) if len(outputs) == 1 else "")
    if name not in outputs:
        wanted = f"an output {output!r}" if output else "a graph with one output"
        raise GraphError(f"{task} wants {wanted}, this one gives {sorted(outputs)}")
    array = outputs[name]
    if not array.ndim or not array.size:
        raise GraphError(f"{task} wants {name!r} as [samples, values], the graph gives {list(array.shape)}")
    return finite(name, array.reshape(len(array), -1), "it decides nothing")
