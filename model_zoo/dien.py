"""DIEN (Zhou et al. 2019, "Deep Interest Evolution Network for click-through rate prediction").

A GRU reads the history; a second one, whose update gate is weighed by attention to the candidate, reads the
first one's states (MODELS.md 15). Two things tie a sample's score to what it is batched with: the embeddings
of all steps are summed, padding included, so that the padded length counts; and Dice normalises by the mean
and deviation of the batch, at inference too: of a batch of one it takes the half. Compare only identical
batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.behaviour import (
    SHORTEST,
    Catalogue,
    Histories,
    Ids,
    Moments,
    check_lengths,
    check_mask,
    mask_of,
    no_format,
)
from model_zoo.behaviour_layers import (
    Shape,
    attention_macs,
    attention_shapes,
    dense_shapes,
    normalisation_shapes,
)
from model_zoo.feed_checks import check_numbers
from model_zoo.probability import Probability
from model_zoo.samples import LazyFeeds, Samples, digest_of
from model_zoo.spec import Counts, FeedSource, ModelSpec, PaperRow, Split, Training, Variant
from runtime.errors import unknown_name
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from exporters.source import Source
    from model_zoo.spec import Lesson

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

STEPS = 100
"""What histories are padded to (MODELS.md 15)."""

LENGTHS = 1.4
"""Exponent of the law of lengths: the mean is 14, that of Amazon Books, before histories are cut."""

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


def build(network: Dien, weights: Path | None) -> Source:
    """The network in TensorFlow, with seeded weights or those of a file; raises UsageError for another's."""
    from model_zoo.dien_seeded import weights_of
    from model_zoo.dien_tensorflow import tensorflow_source

    return tensorflow_source(network, weights_of(network, weights))


def check(network: Dien, feed: Feed) -> None:
    """Raises FeedError for an id outside of its table, or a mask that disagrees with a length."""
    tables = {"uid": network.users, "mid": network.items, "cat": network.categories}
    tables |= {"mid_his": network.items, "cat_his": network.categories}
    if network.auxiliary:
        tables |= {"noclk_mid": network.items, "noclk_cat": network.categories}
    for name, rows in tables.items():
        check_numbers(name, feed[name], rows)
    check_lengths(feed, "seq_len", "mid_his")
    check_mask(feed, "mask", "seq_len")


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


def feeds_of(network: Dien, steps: int, shortest: int, framework: str) -> LazyFeeds:
    """Made-up histories of `shortest` to `steps` items; raises UsageError for an unknown framework."""
    check_framework(framework)
    catalogue = Catalogue(network.items, network.categories, first=1)
    histories = Histories(catalogue, network.users, steps, exponent=LENGTHS, shortest=shortest)
    categories = cache(catalogue.category_of_items)

    def sample(split: Split, k: int) -> Feed:
        feed = feed_of(histories.moment(split, k, 1), categories())
        if network.auxiliary:
            others = histories.others(split, k, NOT_CLICKED)
            return {**feed, "noclk_mid": others, "noclk_cat": categories()[others]}
        return feed

    def find(_: Progress) -> Samples:
        return Samples(histories.origin("Amazon Books"), True, digest_of(network, histories), sample)

    return LazyFeeds(find, over=no_format)


def check_framework(name: str) -> None:
    """Raises UsageError for another framework than TensorFlow."""
    if name != "tensorflow":
        raise unknown_name("framework of dien", name, ("tensorflow",))


def likes_of(network: Dien, framework: str) -> FeedSource:
    """Ratings of MovieLens 100K, or made-up histories where it cannot be had."""
    from model_zoo.behaviour_movielens import STEPS, genre_of_films, rating_feeds

    def sample(moments: Moments) -> Feed:
        return feed_of(moments, genre_of_films())

    return rating_feeds(sample, feeds_of(network, STEPS, SHORTEST, framework))


def lesson(seed: int, progress: Progress) -> Lesson:
    """MOVIELENS, knowing nothing yet; raises UnavailableError where the data cannot be had."""
    from model_zoo.dien_lesson import lesson_of

    return lesson_of(MOVIELENS, seed, progress)


def _variant(network: Dien, description: str, steps: int = STEPS, shortest: int = SHORTEST) -> Variant:
    """A network with made-up histories of `shortest` to `steps` items."""
    return Variant(
        description,
        build={"tensorflow": partial(build, network)},
        counts={"tensorflow": Counts(network.parameters, network.macs(steps))},
        feeds=partial(feeds_of, network, steps, shortest),
        task=Probability(output=OUTPUT),
        calibration_method="min-max",  # most steps are padding: entropy clips the others, 27 dB for 43
        sizes={"history": steps},
        batch_dependent=True,  # Dice
        check=partial(check, network),
    )


def _reader(progress: Progress) -> Callable[[Moments], Feed]:
    from model_zoo.behaviour_movielens import genre_of_films

    genres = genre_of_films(progress)
    return lambda moments: feed_of(moments, genres)


def _movielens() -> Variant:
    from model_zoo.behaviour_exam import exam_of
    from model_zoo.behaviour_movielens import DATA, STEPS

    description = "DIEN for MovieLens 100K: a user, a film, the 20 liked before it, first genres"
    return replace(
        _variant(MOVIELENS, description, STEPS),
        feeds=partial(likes_of, MOVIELENS),
        training=Training(DATA, lesson),
        exams=(exam_of(_reader, OUTPUT),),
    )


DEPLOYED = Dien(users=543_060, items=367_983, categories=1_601)
"""Amazon Books (MODELS.md 15)."""

AUXILIARY = replace(DEPLOYED, auxiliary=True)

MOVIELENS = Dien(users=944, items=1683, categories=20)

SPEC = ModelSpec(
    "dien",
    "DIEN",
    PaperRow(batch_size=512, flops=1.13e11, seconds=0.051),
    {
        "": _variant(DEPLOYED, "DIEN as it is deployed, without the auxiliary net; histories padded to 100"),
        "auxiliary": _variant(AUXILIARY, "DIEN with the auxiliary net of training, whose answers it shows"),
        "paper-length": _variant(
            AUXILIARY,
            "DIEN with the auxiliary net over histories of 1000 to 2000 items, which the paper's FLOPs tell",
            steps=2000,
            shortest=1000,
        ),
        "movielens-100k": _movielens(),
    },
)
