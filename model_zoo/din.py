"""DIN (Zhou et al. 2018, "Deep Interest Network for click-through rate prediction"), as AI Matrix runs it.

Names of tensors are those of the reference's checkpoints (MODELS.md 14). The reference has two graphs. The
one that is timed (infer.py) scores the first item of the table for every user: its candidates are
placeholders that nothing reads. The one that is evaluated scores a bought item against another one, and looks
at the history in the light of the first alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_zoo.behaviour import Catalogue, Histories, Ids, Moments, check_lengths, no_format
from model_zoo.behaviour_layers import (
    ATTENTION_UNITS,
    Shape,
    attention_macs,
    attention_shapes,
    dense_shapes,
    normalisation_shapes,
)
from model_zoo.feed_checks import check_numbers
from model_zoo.probability import PREFERENCE, PROBABILITY
from model_zoo.samples import LazyFeeds, Samples, digest_of
from model_zoo.spec import Counts, FeedSource, ModelSpec, PaperRow, Split, Training, Variant
from runtime.errors import unknown_name
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from exporters.source import Source
    from model_zoo.spec import Lesson

ATTENTION = ("f1_att", "f2_att", "f3_att")
TAIL = ("f1", "f2", "f3")

STEPS = 100
"""What histories are padded to. The paper's FLOPs are those of 88 steps, the longest history in its batch."""


LENGTHS = 2.0
"""Exponent of the law of lengths: the mean is 8, as in Amazon Electronics, and the longest of 512 is 90 on
average, about the 88 that the paper's FLOPs tell."""


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


Table = Callable[[], Ids]
"""Makes the category of each item, a constant of the graph."""


def build(network: Din, table: Table, weights: Path | None) -> Source:
    """The network in TensorFlow, with seeded weights or those of a file; raises UsageError for another's."""
    from model_zoo.din_seeded import weights_of
    from model_zoo.din_tensorflow import tensorflow_source

    return tensorflow_source(network, table(), weights_of(network, weights))


def check(network: Din, feed: Feed) -> None:
    """Raises FeedError for an item outside of the table, or a length beyond the padding."""
    for name in ("hist_i", *INPUTS[network.candidates]):
        check_numbers(name, feed[name], network.items, "item")
    if network.user_read:
        check_numbers("u", feed["u"], network.users, "user")
    check_lengths(feed, "sl", "hist_i")


def feed_of(network: Din, moments: Moments) -> Feed:
    """What the network reads of `moments`."""
    candidates = zip(INPUTS[network.candidates], np.moveaxis(moments.items, -1, 0), strict=True)
    user = {"u": moments.users} if network.user_read else {}
    return {"hist_i": moments.histories, "sl": moments.lengths, **dict(candidates), **user}


def feeds_of(network: Din, steps: int, framework: str) -> LazyFeeds:
    """Made-up histories, padded to `steps`; raises UsageError for another framework than TensorFlow."""
    check_framework(framework)
    histories = Histories(
        Catalogue(network.items, network.categories), network.users, steps, exponent=LENGTHS
    )

    def sample(split: Split, k: int) -> Feed:
        return feed_of(network, histories.moment(split, k, len(INPUTS[network.candidates])))

    def find(_: Progress) -> Samples:
        return Samples(histories.origin("Amazon Electronics"), True, digest_of(network, histories), sample)

    return LazyFeeds(find, over=no_format)


def check_framework(name: str) -> None:
    """Raises UsageError for another framework than TensorFlow."""
    if name != "tensorflow":
        raise unknown_name("framework of din", name, ("tensorflow",))


def likes_of(network: Din, framework: str) -> FeedSource:
    """Ratings of MovieLens 100K, or made-up histories where it cannot be had."""
    from model_zoo.behaviour_movielens import STEPS, rating_feeds

    return rating_feeds(partial(feed_of, network), feeds_of(network, STEPS, framework))


def lesson(seed: int, progress: Progress) -> Lesson:
    """MOVIELENS, knowing nothing yet; raises UnavailableError where the data cannot be had."""
    from model_zoo.din_lesson import lesson_of

    return lesson_of(MOVIELENS, seed, progress)


def _variant(network: Din, description: str) -> Variant:
    """A network with made-up histories and categories."""
    catalogue = Catalogue(network.items, network.categories)
    return Variant(
        description,
        build={"tensorflow": partial(build, network, catalogue.category_of_items)},
        counts={"tensorflow": Counts(network.parameters, network.macs(STEPS))},
        feeds=partial(feeds_of, network, STEPS),
        task=PREFERENCE if network.candidates is Candidates.TWO else PROBABILITY,
        calibration_method="min-max",  # nine of ten steps are padding: entropy clips the others, 10 dB for 34
        sizes={"history": STEPS},
        check=partial(check, network),
    )


def _movielens() -> Variant:
    from model_zoo.behaviour_exam import exam_of
    from model_zoo.behaviour_movielens import DATA, STEPS, genre_of_films

    return replace(
        _variant(MOVIELENS, "DIN for MovieLens 100K: a user, a film, the 20 liked before it, first genres"),
        build={"tensorflow": partial(build, MOVIELENS, genre_of_films)},
        counts={"tensorflow": Counts(MOVIELENS.parameters, MOVIELENS.macs(STEPS))},
        feeds=partial(likes_of, MOVIELENS),
        sizes={"history": STEPS},
        training=Training(DATA, lesson),
        exams=(exam_of(lambda _: partial(feed_of, MOVIELENS)),),
    )


AS_RUN = Din(items=63001, categories=801, users=192403, candidates=Candidates.FIRST)
"""Amazon Electronics (MODELS.md 14)."""

MOVIELENS = Din(items=1683, categories=20, users=944, user_read=True)
"""How easily someone likes any film at all, the films that they liked do not tell, but their row can."""

LARGE = Din(items=10_000_000, categories=10_000)
"""Item embeddings of 2.56 GB: what shops have, and more than an ONNX file itself can hold."""

SPEC = ModelSpec(
    "din",
    "DIN",
    PaperRow(batch_size=512, flops=4.01e9, seconds=0.004),
    {
        "as-run": _variant(
            AS_RUN,
            "DIN as the paper timed it: item 0 for every user; histories padded to 100 (the paper's to 88)",
        ),
        "evaluation": _variant(
            replace(AS_RUN, candidates=Candidates.TWO),
            "DIN as it is evaluated: the scores of two items, for a user seen in the light of the first",
        ),
        "large": _variant(LARGE, "DIN over 10 million items, one of which is scored: 2.6 GB of embeddings"),
        "movielens-100k": _movielens(),
    },
    reference="as-run",
)
