"""GAUC: the AUC of each user's own candidates, averaged over users (Zhou et al. 2018, section 5.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.metrics.sums import ShareMetric
from runtime.errors import UsageError
from runtime.tensors import Array


class GroupedAuc(ShareMetric):
    """truth: of each candidate of a user whether it was taken, [candidates].     answer: scores [candidates].

    The share of pairs of one taken and one not in which the one that was taken scores higher; a tie is not
    higher, as in DIN's own code, so that one who scores all alike has 0 (MODELS.md 2.6). Users weigh as much
    as they have candidates; those who took all or nothing say nothing and are left out.
    """

    def parts(self, truth: Array, answer: Array) -> tuple[float, ...]:
        taken, scores = np.asarray(truth, bool).reshape(-1), np.asarray(answer).reshape(-1)
        if taken.size != scores.size:
            raise UsageError(
                f"a user's {taken.size} candidates have {scores.size} scores; give one score a candidate"
            )
        if taken.all() or not taken.any():
            return 0.0, 0.0
        higher = (scores[taken][:, np.newaxis] > scores[~taken]).mean()
        return float(higher) * taken.size, float(taken.size)

    def worst(self, truth: Array) -> tuple[float, ...]:
        taken = np.asarray(truth, bool).reshape(-1)
        return (0.0, 0.0) if taken.all() or not taken.any() else (0.0, float(taken.size))

    def scores(self) -> NDArray[np.float64] | None:
        """Where all users weigh the same."""
        if not self.samples:
            return np.zeros(0)
        shares, weights = self.table().T
        return shares / weights if weights[0] and (weights == weights[0]).all() else None
