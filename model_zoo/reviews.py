"""Reviews of clothes by customers, each with whether it recommends them (DATA.md B3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model_zoo import tables
from model_zoo.samples import uniforms
from model_zoo.spec import Split
from runtime.progress import Progress, silent

REVIEWS = 1000
"""Of each split, of 22,634 different texts."""


@dataclass(frozen=True)
class Review:
    """What a customer wrote."""

    text: str
    recommended: bool


def reviews(progress: Progress = silent) -> Mapping[Split, tuple[Review, ...]]:
    """Different texts, drawn by lot: for evaluation those judged, for calibration those learned from.

    Raises UnavailableError as `tables.ratings` does.
    """
    table = tables.reviews(progress)
    rows = zip(table["Review Text"].tolist(), table["Recommended IND"].tolist(), strict=True)
    found = {text: Review(text, bool(recommended)) for text, recommended in rows if text}
    kept = tuple(found.values())
    order = np.argsort(uniforms(len(kept), "reviews"), kind="stable")
    judged, learned = order[:REVIEWS], order[REVIEWS : 2 * REVIEWS]
    return {
        Split.EVALUATION: tuple(kept[row] for row in judged),
        Split.CALIBRATION: tuple(kept[row] for row in learned),
    }
