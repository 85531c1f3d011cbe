"""DIN (Zhou et al. 2018, "Deep Interest Network for click-through rate prediction"), as AI Matrix runs it.

Names of tensors are those of the reference's checkpoints (MODELS.md 14). The reference has two graphs. The
one that is timed (infer.py) scores the first item of the table for every user: its candidates are
placeholders that nothing reads. The one that is evaluated scores a bought item against another one, and looks
at the history in the light of the first alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.behaviour import Catalogue, Histories, Ids, check_lengths, no_format
from model_zoo.din_network import AS_RUN, INPUTS, LARGE, MOVIELENS, Candidates, Din, feed_of
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

STEPS = 100
"""What histories are padded to. The paper's FLOPs are those of 88 steps, the longest history in its batch."""


LENGTHS = 2.0
"""Exponent of the law of lengths: the mean is 8, as in Amazon Electronics, and the longest of 512 is 90 on
average, about the 88 that the paper's FLOPs tell."""


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
