"""Weights of a GNMT: seeded, or out of a file with the names of tensorflow/nmt's checkpoints."""

from __future__ import annotations

from pathlib import Path

from model_zoo.gnmt import SOURCE_EMBEDDING, TARGET_EMBEDDING, Gnmt
from model_zoo.gnmt_seeded import seeded_weights
from model_zoo.weights import Alias, read_weights, take
from runtime.tensors import Array

_ALIASES = dict.fromkeys((SOURCE_EMBEDDING, TARGET_EMBEDDING), (Alias("embeddings/embedding_share"),))
"""Where both languages have one vocabulary, --share_vocab keeps one table (nmt/model_helper.py)."""


def weights_of(network: Gnmt, path: Path | None) -> dict[str, Array]:
    """Every tensor of `network.shapes()`; raises UsageError for a file that does not fit (`weights.take`)."""
    if path is None:
        return dict(seeded_weights(network))
    return take(read_weights(path), network.shapes(), _ALIASES)
