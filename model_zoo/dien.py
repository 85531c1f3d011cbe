"""DIEN (Zhou et al. 2019, "Deep Interest Evolution Network for click-through rate prediction").

A GRU reads the history; a second one, whose update gate is weighed by attention to the candidate, reads the
first one's states (MODELS.md 15). Two things tie a sample's score to what it is batched with: the embeddings
of all steps are summed, padding included, so that the padded length counts; and Dice normalises by the mean
and deviation of the batch, at inference too: of a batch of one it takes the half. Compare only identical
batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.behaviour import SHORTEST, Catalogue, Histories, Moments, check_lengths, check_mask, no_format
from model_zoo.dien_network import AUXILIARY, DEPLOYED, MOVIELENS, NOT_CLICKED, OUTPUT, Dien, feed_of
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

STEPS = 100
"""What histories are padded to (MODELS.md 15)."""

LENGTHS = 1.4
"""Exponent of the law of lengths: the mean is 14, that of Amazon Books, before histories are cut."""


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
