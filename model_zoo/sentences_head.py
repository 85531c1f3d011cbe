"""From MiniLM's embedding of a review to the chance that it recommends: a logistic regression.

`sentences_fit` made the file. Every precision is judged with its numbers, so that what differs is the
embedding's doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.tensors import Array

HEAD_FILE = Path(__file__).parent / "statistics" / "minilm-recommended.npz"


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
    with np.load(HEAD_FILE) as stored:
        return Head(stored["weights"].astype(np.float64), float(stored["bias"]))
