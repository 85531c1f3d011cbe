"""NCF as data: NeuMF (He et al. 2017, "Neural collaborative filtering") as AI Matrix runs it (MODELS.md 18).

A generalised matrix factorisation and a multilayer perceptron, each with its own tables of users and items,
score one pair of user and item a row. Unlike the paper's, the tables have a bias and a ReLU: the suite
makes each row of a table by a dense layer over a one-hot vector. Names of tensors are those of its
checkpoints. Batches are not mentioned: every count is of one pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from model_zoo.layers import Shape

TABLES = ("user_embed_GMF", "item_embed_GMF", "user_embed_MLP", "item_embed_MLP")
"""Dense layers over a user's or an item's one-hot vector."""

LAYERS = ("layer1_MLP", "layer2_MLP", "layer3_MLP")
"""The perceptron, from the bottom."""

PREDICT = "predict"


class Lookup(StrEnum):
    """How a row of a table is found: by a matrix product with a one-hot vector, or by its number."""

    ONE_HOT = "one-hot"
    GATHER = "gather"


@dataclass(frozen=True)
class Ncf:
    """A NeuMF over `users` and `items`, numbered from 0, with `factors` (even) in each table."""

    users: int
    items: int
    lookup: Lookup
    factors: int = 16

    @property
    def tables(self) -> dict[str, int]:
        """Rows of each of TABLES."""
        return {name: self.users if name.startswith("user") else self.items for name in TABLES}

    @property
    def widths(self) -> tuple[int, ...]:
        """Values that go into LAYERS, and that come out of the last."""
        return 2 * self.factors, 2 * self.factors, self.factors, self.factors // 2

    def shapes(self) -> dict[str, Shape]:
        """Every tensor and its shape; kernels are [inputs, outputs]."""
        shapes: dict[str, Shape] = {}
        for name, rows in self.tables.items():
            shapes |= _dense(name, rows, self.factors)
        for name, inputs, outputs in zip(LAYERS, self.widths[:-1], self.widths[1:], strict=True):
            shapes |= _dense(name, inputs, outputs)
        return shapes | _dense(PREDICT, self.factors + self.widths[-1], 1)

    @property
    def parameters(self) -> int:
        """Learned parameters."""
        return sum(int(np.prod(shape)) for shape in self.shapes().values())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one pair; a gathered row takes none (MODELS.md 0.3)."""
        kernels = {name: shape for name, shape in self.shapes().items() if len(shape) == 2}
        gathered = {f"{name}/kernel" for name in TABLES if self.lookup is Lookup.GATHER}
        return sum(int(np.prod(shape)) for name, shape in kernels.items() if name not in gathered)


def _dense(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


ONE_HOT = Ncf(users=6040, items=3706, lookup=Lookup.ONE_HOT)
"""MovieLens 1M: what the suite runs, and what the paper's FLOPs are of."""

GATHER = replace(ONE_HOT, lookup=Lookup.GATHER)

LARGE = Ncf(users=6040, items=20_000_000, lookup=Lookup.GATHER)
"""Tables as a shop has them: 2.6 GB, more than one protobuf can hold."""

MOVIELENS_100K = Ncf(users=943, items=1682, lookup=Lookup.GATHER)
