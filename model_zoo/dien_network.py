"""What a DIEN is: its sizes, tensors and outputs, by the names of the reference's checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from model_zoo.behaviour import Ids, Moments, mask_of
from model_zoo.behaviour_layers import attention_macs, attention_shapes, dense_shapes, normalisation_shapes
from model_zoo.layers import Shape
from runtime.tensors import Feed

EMBEDDING = 18
"""Features of a user, an item or a category."""

WIDTH = 2 * EMBEDDING
"""Features of an item with its category, and units of both recurrences."""

ATTENTION = ("attention/layer_1", "attention/layer_2", "attention/layer_3")
TAIL_UNITS = (200, 80)
"""Of the hidden dense layers behind all features."""

FEATURES = EMBEDDING + 4 * WIDTH
"""User, item, sum of the history, its product with the item, last state."""

AUXILIARY_UNITS = (100, 50)
NOT_CLICKED = 5
"""Items that the reference draws for each step of a history, of which it reads the first."""

OUTPUT = "y_hat"
"""float32 [batch, 2]: the probability of a click, and of none."""

AUXILIARY_OUTPUTS = ("clicked", "not_clicked")
"""float32 [batch, history - 1]: how likely the next item of a history, and one that is not, is to be next."""


@dataclass(frozen=True)
class Dien:
    """A DIEN over these tables; row 0 of items and categories is that of padding.

    auxiliary: with the net that tells the next item from another one, which only training needs.
    """

    users: int
    items: int
    categories: int
    auxiliary: bool = False

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes().values())

    def macs(self, steps: int) -> int:
        """Multiply-accumulates of one sample whose history is padded to `steps`."""
        recurrence = 2 * WIDTH * 3 * WIDTH
        once = WIDTH**2
        for inputs, units in pairwise((FEATURES, *TAIL_UNITS, 2)):
            once += inputs * units
        first, second = AUXILIARY_UNITS
        auxiliary = 2 * (2 * WIDTH * first + first * second + second * 2) if self.auxiliary else 0
        return steps * (2 * recurrence + attention_macs(WIDTH)) + once + (steps - 1) * auxiliary

    def shapes(self) -> dict[str, Shape]:
        """Every tensor of the network."""
        return {
            "uid_embedding_var": (self.users, EMBEDDING),
            "mid_embedding_var": (self.items, EMBEDDING),
            "cat_embedding_var": (self.categories, EMBEDDING),
            **_recurrence_shapes("gru1"),
            **dense_shapes("attention/query", WIDTH, WIDTH),
            "attention/query/alpha": (WIDTH,),
            **attention_shapes(ATTENTION, WIDTH),
            **_recurrence_shapes("gru2"),
            **normalisation_shapes("bn1", FEATURES),
            **dense_shapes("f1", FEATURES, TAIL_UNITS[0]),
            "dice_1/alpha": (TAIL_UNITS[0],),
            **dense_shapes("f2", *TAIL_UNITS),
            "dice_2/alpha": (TAIL_UNITS[1],),
            **dense_shapes("f3", TAIL_UNITS[1], 2),
            **(_auxiliary_shapes() if self.auxiliary else {}),
        }


def _recurrence_shapes(name: str) -> dict[str, Shape]:
    """Gates: reset, then update. The rows of kernels are inputs, then states."""
    return {
        **dense_shapes(f"{name}/gates", 2 * WIDTH, 2 * WIDTH),
        **dense_shapes(f"{name}/candidate", 2 * WIDTH, WIDTH),
    }


def _auxiliary_shapes() -> dict[str, Shape]:
    first, second = AUXILIARY_UNITS
    return {
        **normalisation_shapes("bn1gru", 2 * WIDTH),
        **dense_shapes("f1gru", 2 * WIDTH, first),
        **dense_shapes("f2gru", first, second),
        **dense_shapes("f3gru", second, 2),
    }


def feed_of(moments: Moments, categories: Ids) -> Feed:
    """What a network without the auxiliary net reads of `moments`; `categories` of all items."""
    items, histories = moments.items[..., 0], moments.histories
    return {
        "uid": moments.users,
        "mid": items,
        "cat": categories[items],
        "mid_his": histories,
        "cat_his": categories[histories],
        "mask": mask_of(moments.lengths, histories.shape[-1]),
        "seq_len": moments.lengths,
    }


DEPLOYED = Dien(users=543_060, items=367_983, categories=1_601)
"""Amazon Books (MODELS.md 15)."""

AUXILIARY = replace(DEPLOYED, auxiliary=True)

MOVIELENS = Dien(users=944, items=1683, categories=20)
