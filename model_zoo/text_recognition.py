"""What the outputs of a network that reads words mean: CTC's best path as a row of characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.finite import finite
from model_zoo.tasks import Answering
from runtime.errors import GraphError
from runtime.tensors import Array

PADDING = -1
"""Behind the last character of a row."""


@dataclass(frozen=True)
class BestPath(Answering):
    """The text of the likeliest character in every column: repeats are one, then blanks are dropped.

    Graves et al. 2006, "Connectionist temporal classification", 3.2. The reference searches with a beam of
    one path, which is not the same in every case (MODELS.md 13).

    blank:      index of the character that stands for none; -1 is the last.
    characters: one for each index, as `texts` takes them; "" where the network does not say.
    """

    name: str = "text recognition"
    agreement: str = "word agreement"
    blank: int = -1
    characters: str = ""

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, columns]: the text's characters, then PADDING; from the only output.

        It is [samples, columns, characters]. Raises GraphError for any other outputs, CheckFailed for NaN or
        infinity in them.
        """
        scores = _only_sequence(self.name, outputs)
        best = np.argmax(scores, axis=-1).astype(np.int64)
        starts = np.ones(best.shape, np.bool_)
        starts[:, 1:] = best[:, 1:] != best[:, :-1]
        kept = starts & (best != self.blank % scores.shape[-1])
        # characters to the left, in their order, and padding behind them
        order = np.argsort(~kept, axis=-1, kind="stable")
        return np.take_along_axis(np.where(kept, best, PADDING), order, axis=-1)


BEST_PATH = BestPath()


def texts(answers: NDArray[np.int64], alphabet: str) -> tuple[str, ...]:
    """The rows as text; `alphabet` has a character for each number, whatever it has for the blank."""
    return tuple("".join(alphabet[index] for index in row if index != PADDING) for row in answers)


def _only_sequence(task: str, outputs: Mapping[str, Array]) -> Array:
    shapes = {name: list(array.shape) for name, array in outputs.items()}
    scores = next(iter(outputs.values())) if len(outputs) == 1 else np.empty(0)
    if scores.ndim != 3 or not scores.shape[-1]:
        raise GraphError(f"{task} wants one output [samples, columns, characters], the graph gives {shapes}")
    return finite(next(iter(outputs)), scores, "it reads nothing")
