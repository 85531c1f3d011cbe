"""NeuMF on the tables of MovieLens 1M, as AI Matrix runs it, on larger ones, and taught on MovieLens 100K."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.feed_checks import check_numbers
from model_zoo.ncf_exam import folder_exam, movielens_exam
from model_zoo.ncf_network import GATHER, LARGE, MOVIELENS_100K, ONE_HOT, Ncf
from model_zoo.probability import CLICK
from model_zoo.spec import (
    CENTRED,
    Ask,
    Counts,
    FeedSource,
    Lesson,
    ModelSpec,
    PaperRow,
    Told,
    Training,
    Variant,
)
from runtime.errors import unknown_name
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from exporters.source import Source


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
        calibration_method=CENTRED,  # entropy clips products of factors: 27 dB, not 31
        check=partial(check, network),
    )


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
