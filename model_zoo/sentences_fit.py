"""Fits the head of MiniLM's exam, and writes its file.

    python -m model_zoo.sentences_fit

learns from the embeddings that the network has in TensorFlow, at FP32, of the reviews that are learned from.
To be run again only when `reviews` chooses others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.reviews import Review, reviews
from model_zoo.sentences_head import HEAD_FILE, Head
from model_zoo.spec import Split
from runtime import files
from runtime.tensors import Array

_STEPS = 50
_CLOSE = 1e-10
_BATCH = 50


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
    from model_zoo.bert import build_tensorflow
    from model_zoo.bert_network import MINILM
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
    with files.replacing_file(HEAD_FILE) as path, path.open("wb") as stream:
        np.savez(stream, weights=head.weights.astype(np.float32), bias=np.float32(head.bias))


if __name__ == "__main__":
    main()
