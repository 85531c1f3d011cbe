"""NCF as data: NeuMF (He et al. 2017, "Neural collaborative filtering") as AI Matrix runs it (MODELS.md 18).

A generalised matrix factorisation and a multilayer perceptron, each with its own tables of users and items,
score one pair of user and item a row. Unlike the paper's, the tables have a bias and a ReLU: the suite
makes each row of a table by a dense layer over a one-hot vector. Names of tensors are those of its
checkpoints. Batches are not mentioned: every count is of one pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_zoo.feed_checks import check_numbers
from model_zoo.ncf_exam import folder_exam, movielens_exam
from model_zoo.probability import CLICK
from model_zoo.spec import Ask, Counts, FeedSource, Lesson, ModelSpec, PaperRow, Told, Training, Variant
from runtime.errors import unknown_name
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from exporters.source import Source

Shape = tuple[int, ...]

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


def check(network: Ncf, feed: Feed) -> None:
    """Raises FeedError for a user or an item that no table has.

    TensorFlow's one-hot vector of such a number is all zeros, and its gather fails.
    """
    for name, size in (("user", network.users), ("item", network.items)):
        check_numbers(name, feed[name], size, name)


def build(network: Ncf, weights: Path | None) -> Source:
    """The network in TensorFlow; raises UsageError for a weights file that does not fit."""
    from model_zoo.ncf_seeded import weights_of
    from model_zoo.ncf_tensorflow import tensorflow_source

    return tensorflow_source(network, weights_of(network, weights))


def synthetic_feeds(network: Ncf, framework: str) -> FeedSource:
    """Made-up users and items, a user's hundred candidates in a row; see `ncf_feeds`."""
    from model_zoo.ncf_feeds import zipf_feeds

    _check_framework(framework)
    return zipf_feeds(network)


def movielens_feeds(network: Ncf, framework: str) -> FeedSource:
    """MovieLens 100K's users, each with the last movie and 99 that were never rated; see `ncf_feeds`."""
    from model_zoo.ncf_feeds import movielens_feeds as feeds

    _check_framework(framework)
    return feeds(network)


def _check_framework(name: str) -> None:
    if name != "tensorflow":
        raise unknown_name("framework of ncf", name, ("tensorflow",))


def _lesson(seed: int, progress: Progress) -> Lesson:
    from model_zoo.ncf_lesson import NcfLesson

    return NcfLesson.from_movielens(MOVIELENS_100K, seed, progress)


def _tell(data: Path | None, ask: Ask) -> Iterator[Told]:
    from model_zoo.ncf_answers import tell

    return tell(data, ask)


def variant_of(network: Ncf, description: str) -> Variant:
    """One network, in TensorFlow, fed with made-up users and items."""
    return Variant(
        description,
        build={"tensorflow": partial(build, network)},
        counts={"tensorflow": Counts(network.parameters, network.macs)},
        feeds=partial(synthetic_feeds, network),
        task=CLICK,
        calibration_method="mean-squared-error+feedback",  # entropy clips products of factors: 27 dB, not 31
        check=partial(check, network),
    )


ONE_HOT = Ncf(users=6040, items=3706, lookup=Lookup.ONE_HOT)
"""MovieLens 1M: what the suite runs, and what the paper's FLOPs are of."""

GATHER = replace(ONE_HOT, lookup=Lookup.GATHER)

LARGE = Ncf(users=6040, items=20_000_000, lookup=Lookup.GATHER)
"""Tables as a shop has them: 2.6 GB, more than one protobuf can hold."""

MOVIELENS_100K = Ncf(users=943, items=1682, lookup=Lookup.GATHER)

_VARIANTS: Mapping[str, Variant] = {
    "one-hot": replace(
        variant_of(ONE_HOT, "NeuMF, 6040 users and 3706 items, rows of tables by one-hot products"),
        exams=(folder_exam(ONE_HOT, "movielens-1m"),),
    ),
    "gather": replace(
        variant_of(GATHER, "NeuMF, 6040 users and 3706 items, rows of tables gathered"),
        exams=(folder_exam(GATHER, "movielens-1m"),),
    ),
    "large": variant_of(LARGE, "NeuMF, 6040 users and 20 million items, rows of tables gathered"),
    "movielens-100k": replace(
        variant_of(
            MOVIELENS_100K, "NeuMF for MovieLens 100K, rows of tables gathered; bench train teaches it"
        ),
        feeds=partial(movielens_feeds, MOVIELENS_100K),
        tell=_tell,
        exams=(movielens_exam(MOVIELENS_100K, "movielens-100k"),),
        training=Training(
            "MovieLens 100K, what a user rated; the last of each user is held out, against 99 never rated",
            _lesson,
        ),
    ),
}

SPEC = ModelSpec(
    "ncf",
    "NCF (NeuMF)",
    PaperRow(batch_size=256, flops=1.66e8, seconds=0.001),
    _VARIANTS,
    reference="one-hot",
)
