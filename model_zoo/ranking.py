"""How well a recommender ranks: HR@10 and NDCG@10 of one right item among others (MODELS.md 2.6)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from runtime.errors import GraphError
from runtime.tensors import Array

CUT = 10
"""Places that are shown to a user."""


def ranks(scores: Array) -> NDArray[np.int64]:
    """[users]: how many of a row's other scores [users, candidates] are not below the first, the right one.

    Equal scores count against it: one who scores all alike has found nothing. Raises GraphError for another
    form than a matrix.
    """
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise GraphError(f"ranking wants scores as [users, candidates], got {list(scores.shape)}")
    ranked: NDArray[np.int64] = (scores[:, 1:] >= scores[:, :1]).sum(axis=1)
    return ranked


def ranking_scores(scores: Array, cut: int = CUT) -> Mapping[str, float]:
    """Of scores [users, candidates], the right item's first.

    HR: the share of users who find it among the `cut` best. NDCG: the mean of 1 / log2(2 + rank) where they
    do, with ranks from 0, and of 0 where they do not.
    """
    ranked = ranks(scores)
    gains = np.where(ranked < cut, 1 / np.log2(ranked + 2.0), 0.0)
    return {f"HR@{cut}": float(np.mean(ranked < cut)), f"NDCG@{cut}": float(np.mean(gains))}
