"""A DIN that learns what MovieLens' users like."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from model_zoo.behaviour_layers import Tensor
from model_zoo.behaviour_lesson import LikeLesson, Pupil, Recipe
from model_zoo.behaviour_movielens import genre_of_films
from model_zoo.din_network import Din, feed_of
from model_zoo.din_tensorflow import inputs_of, logits
from runtime.progress import Progress

RECIPE = Recipe(epochs=2, batch_size=512, rate=2e-3)


def lesson_of(network: Din, seed: int, progress: Progress) -> LikeLesson:
    """`network`, knowing nothing yet; raises UnavailableError where the data cannot be had."""
    from exporters.tensorflow import import_tensorflow

    import_tensorflow()
    genres = genre_of_films(progress)

    def logit(weights: Mapping[str, Tensor], feed: Mapping[str, Tensor]) -> Tensor:
        return logits(network, genres, weights, [feed[spec.name] for spec in inputs_of(network)])[:, 0]

    return LikeLesson(Pupil(network.shapes(), partial(feed_of, network), logit), RECIPE, seed, progress)
