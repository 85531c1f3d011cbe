"""From MiniLM's embedding of a review to the chance that it recommends: a logistic regression.

    python -m model_zoo.sentences_head

fits it to the embeddings that the network has in TensorFlow, at FP32, of the reviews that are learned from,
and writes the file. Every precision is judged with these numbers, so that what differs is the embedding's
doing. To be run again only when `reviews` chooses others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.reviews import Review, reviews
from model_zoo.spec import Split
from runtime import files
from runtime.tensors import Array

_PATH = Path(__file__).parent / "statistics" / "minilm-recommended.npz"
_STEPS = 50
_CLOSE = 1e-10
_BATCH = 50


@dataclass(frozen=True)
class Head:
    """The weights [features] and what is added."""

    weights: NDArray[np.float64]
    bias: float

    def logits(self, embeddings: Array) -> NDArray[np.float64]:
        """[samples] of embeddings [samples, features]."""
        return embeddings.astype(np.float64) @ self.weights + self.bias


def read_head() -> Head:
    """The one in the file."""
    with np.load(_PATH) as stored:
        return Head(stored["weights"].astype(np.float64), float(stored["bias"]))


def fitted(embeddings: Array, recommended: NDArray[np.bool_]) -> Head:
    """The least of |weights|^2 / 2 plus the cross entropy of all samples, by Newton's method."""
    inputs = np.pad(embeddings.astype(np.float64), ((0, 0), (0, 1)), constant_values=1)
    penalty = np.ones(inputs.shape[1])
    penalty[-1] = 0  # the bias is free
    found = np.zeros(inputs.shape[1])
    for _ in range(_STEPS):
        chances = 1 / (1 + np.exp(-(inputs @ found)))
        slope = inputs.T @ (chances - recommended) + penalty * found
        bends = (inputs.T * (chances * (1 - chances))) @ inputs + np.diag(penalty)
        step = np.linalg.solve(bends, slope)
        found -= step
        if np.abs(step).max() < _CLOSE:
            break
    return Head(found[:-1], float(found[-1]))


def _embeddings(asked: tuple[Review, ...]) -> Array:
    from model_zoo.bert import MINILM, build_tensorflow
    from model_zoo.exam_parts import batched
    from model_zoo.sentences_exam import feed_of
    from model_zoo.wordpiece import tokenizer, uncased_vocabulary

    source, tokenize = build_tensorflow(MINILM), tokenizer(uncased_vocabulary())
    parts = []
    for part in batched(asked, _BATCH):
        (embedding,) = source.run(feed_of(tokenize, part, MINILM.sequence_length)).values()
        parts.append(embedding)
    return np.concatenate(parts)


def main() -> None:
    """Fit the head and write the file."""
    learned = reviews()[Split.CALIBRATION]
    head = fitted(_embeddings(learned), np.array([review.recommended for review in learned]))
    with files.replacing_file(_PATH) as path, path.open("wb") as stream:
        np.savez(stream, weights=head.weights.astype(np.float32), bias=np.float32(head.bias))


if __name__ == "__main__":
    main()
