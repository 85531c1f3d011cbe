"""What a DIN is: its sizes, tensors, inputs and outputs, by the names of the reference's checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from model_zoo.behaviour import Moments
from model_zoo.behaviour_layers import (
    ATTENTION_UNITS,
    attention_macs,
    attention_shapes,
    dense_shapes,
    normalisation_shapes,
)
from model_zoo.layers import Shape
from runtime.tensors import Feed

ATTENTION = ("f1_att", "f2_att", "f3_att")
TAIL = ("f1", "f2", "f3")


class Candidates(StrEnum):
    """Which items are scored: the table's first, for everyone; one that is given; two that are given."""

    FIRST = "first"
    ONE = "one"
    TWO = "two"


INPUTS: Mapping[Candidates, tuple[str, ...]] = {
    Candidates.FIRST: (),
    Candidates.ONE: ("i",),
    Candidates.TWO: ("i", "j"),
}
"""Items, int32 [batch]; before them come hist_i, int32 [batch, history], and its lengths sl."""

OUTPUTS: Mapping[Candidates, str] = {
    Candidates.FIRST: "score",
    Candidates.ONE: "score",
    Candidates.TWO: "scores",
}
"""float32, each within 0 and 1: [batch, 1, 1], [batch, 1] and [batch, 2]."""


@dataclass(frozen=True)
class Din:
    """A DIN over `items` items of `categories` categories, each embedded in `embedding` features.

    users:     rows of the users' table, which the reference learns and never reads; 0 for no table.
    user_read: whether the table is read all the same, and a row of it added to the user's vector.
    """

    items: int
    categories: int
    users: int = 0
    user_read: bool = False
    candidates: Candidates = Candidates.ONE
    embedding: int = 64

    @property
    def width(self) -> int:
        """Features of an item: its own and its category's."""
        return 2 * self.embedding

    @property
    def history_norm(self) -> str:
        """The normalisation of the user's vector: the timed graph has one of its own, never trained."""
        return "hist_bn" if self.candidates is Candidates.FIRST else "batch_normalization"

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in (self.shapes() | self.unused_shapes()).values())

    def macs(self, steps: int) -> int:
        """Multiply-accumulates of one sample whose history is padded to `steps`."""
        first, second = ATTENTION_UNITS
        scored = 2 if self.candidates is Candidates.TWO else 1
        tail = 2 * self.width * first + first * second + second
        return steps * (attention_macs(self.width) + self.width) + self.width**2 + scored * tail

    def shapes(self) -> dict[str, Shape]:
        """Every tensor the network computes with."""
        first, second = ATTENTION_UNITS
        return {
            "item_emb_w": (self.items, self.embedding),
            "item_b": (self.items,),
            "cate_emb_w": (self.categories, self.embedding),
            **attention_shapes(ATTENTION, self.width),
            **normalisation_shapes(self.history_norm, self.width),
            **dense_shapes("hist_fcn", self.width, self.width),
            **normalisation_shapes("b1", 2 * self.width),
            **dense_shapes(TAIL[0], 2 * self.width, first),
            **dense_shapes(TAIL[1], first, second),
            **dense_shapes(TAIL[2], second, 1),
            **({"user_emb_w": (self.users, self.width)} if self.user_read else {}),
        }

    def unused_shapes(self) -> dict[str, Shape]:
        """The users' table where it is not read: learned with the rest and counted as such."""
        return {"user_emb_w": (self.users, self.width)} if self.users and not self.user_read else {}


def feed_of(network: Din, moments: Moments) -> Feed:
    """What the network reads of `moments`."""
    candidates = zip(INPUTS[network.candidates], np.moveaxis(moments.items, -1, 0), strict=True)
    user = {"u": moments.users} if network.user_read else {}
    return {"hist_i": moments.histories, "sl": moments.lengths, **dict(candidates), **user}


AS_RUN = Din(items=63001, categories=801, users=192403, candidates=Candidates.FIRST)
"""Amazon Electronics (MODELS.md 14)."""

MOVIELENS = Din(items=1683, categories=20, users=944, user_read=True)
"""How easily someone likes any film at all, the films that they liked do not tell, but their row can."""

LARGE = Din(items=10_000_000, categories=10_000)
"""Item embeddings of 2.56 GB: what shops have, and more than an ONNX file itself can hold."""
