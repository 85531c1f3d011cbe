"""What a score of one pair of user and item means: whether the item is worth showing."""

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
class Click(Answering):
    """Whether a user will more likely take an item than leave it: the sigmoid of the logit is above 1/2.

    A recommender is judged by the ten best of a user's hundred candidates (`ranking`), which takes all of
    them in one batch; a batch of 1 has nothing to rank, and one of 256 cuts a user's candidates in two. This
    answer is of one row, so it is the same at every batch size, and stricter than the ten best in one
    respect: a precision that moves all logits alike keeps their order, and yet changes answers.
    """

    name: str = "click"
    agreement: str = "click agreement"

    def answers(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, 1]: 1 where the only output, logits [samples], is above 0, else 0.

        Raises GraphError for any other outputs, CheckFailed for NaN or infinity in them.
        """
        if len(outputs) != 1:
            raise GraphError(f"a {self.name} task wants one output, this graph gives {sorted(outputs)}")
        ((name, logits),) = outputs.items()
        if logits.ndim != 1:
            raise GraphError(
                f"a {self.name} task wants {name!r} as [samples], the graph gives {list(logits.shape)}"
            )
        return (finite(name, logits, "it recommends nothing") > 0).astype(np.int64)[:, np.newaxis]


CLICK = Click()
