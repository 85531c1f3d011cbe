"""What the outputs of a network that translates mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.finite import finite
from model_zoo.gnmt import END
from model_zoo.tasks import CLASSIFICATION, EMBEDDING, Answering
from runtime.errors import GraphError
from runtime.tensors import Array

_TARGET = "target"


@dataclass(frozen=True)
class Translation:
    """A sentence: how many of its words are the same, place by place.

    One word too many or too few moves all that follow it, so that this is stricter than BLEU.
    """

    name: str = "translation"
    agreement: str = "word agreement"
    numeric: bool = False

    def agreeing(
        self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int
    ) -> NDArray[np.float64]:
        """[samples]: equal words over those of the longer sentence, `</s>` being one.

        Reads `target`, whole numbers [samples, words] or, from a beam search, [samples, words, width], the
        best first. Raises GraphError for any other outputs.
        """
        pairs = zip(self.sentences(reference), self.sentences(outputs), strict=True)
        return np.array([_share_of_equal(*pair) for pair in pairs])

    def sentences(self, outputs: Mapping[str, Array]) -> list[NDArray[np.int64]]:
        """The best sentence of each sample, up to and with its `</s>`."""
        words = outputs.get(_TARGET)
        if words is None or words.dtype.kind != "i" or words.ndim not in (2, 3):
            found = {name: f"{array.dtype}{list(array.shape)}" for name, array in outputs.items()}
            raise GraphError(
                f"{self.name} wants an output {_TARGET} of whole numbers, [samples, words] or"
                f" [samples, words, width]; the graph gives {found}"
            )
        best = words if words.ndim == 2 else words[..., 0]
        return [row[: _length(row)].astype(np.int64) for row in best]


@dataclass(frozen=True)
class NextWord(Answering):
    """The likeliest next word, of `logits` among other outputs."""

    name: str = "next word"
    agreement: str = "next-word agreement"

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, 1]. Raises GraphError without `logits` [samples, words], CheckFailed for NaN in them."""
        return CLASSIFICATION.answers({"logits": _wanted(self.name, outputs, "logits")})


@dataclass(frozen=True)
class Reading(Answering):
    """Which of fixed anchors the state is nearest to in which a sentence leaves its reader.

    Nobody acts on an encoder's outputs; what its decoder starts from stands for them, as an embedding.
    """

    name: str = "reading"
    agreement: str = "nearest-anchor agreement"

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, 1], of all `hidden_...` [samples, units], side by side.

        Raises GraphError where there is none, CheckFailed for NaN or infinity in any output.
        """
        for name, array in outputs.items():
            finite(name, array, "nothing can be said after it")
        names = sorted(name for name in outputs if name.startswith("hidden_"))
        states = [_wanted(self.name, outputs, name) for name in names or ["hidden_0"]]
        return EMBEDDING.answers({"state": np.concatenate(states, axis=1)})


TRANSLATION = Translation()
NEXT_WORD = NextWord()
READING = Reading()


def _length(words: Array) -> int:
    """Up to and with the first `</s>`, or all there are."""
    ends = np.flatnonzero(words == END)
    return int(ends[0]) + 1 if len(ends) else len(words)


def _share_of_equal(first: Array, second: Array) -> float:
    both, longer = sorted((len(first), len(second)))
    return float((first[:both] == second[:both]).sum()) / longer if longer else 1.0


def _wanted(task: str, outputs: Mapping[str, Array], name: str) -> Array:
    if name not in outputs or outputs[name].ndim != 2:
        found = {key: list(array.shape) for key, array in outputs.items()}
        raise GraphError(f"{task} wants an output {name} [samples, values]; the graph gives {found}")
    return outputs[name]
