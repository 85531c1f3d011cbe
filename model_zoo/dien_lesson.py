"""A DIEN that learns what MovieLens' users like, without the auxiliary loss."""

from __future__ import annotations

from collections.abc import Mapping

from model_zoo.behaviour import Moments
from model_zoo.behaviour_layers import Tensor
from model_zoo.behaviour_lesson import LikeLesson, Pupil, Recipe
from model_zoo.behaviour_movielens import genre_of_films
from model_zoo.dien_network import Dien, feed_of
from model_zoo.dien_recurrence import AS_STEPS
from model_zoo.dien_tensorflow import INPUTS, logits
from runtime.progress import Progress
from runtime.tensors import Feed

RECIPE = Recipe(epochs=3, batch_size=512, rate=2e-3)


def lesson_of(network: Dien, seed: int, progress: Progress) -> LikeLesson:
    """`network`, knowing nothing yet; raises UnavailableError where the data cannot be had."""
    from exporters.tensorflow import import_tensorflow

    import_tensorflow()
    genres = genre_of_films(progress)

    def read(moments: Moments) -> Feed:
        return feed_of(moments, genres)

    def logit(weights: Mapping[str, Tensor], feed: Mapping[str, Tensor]) -> Tensor:
        both = logits(weights, AS_STEPS, [feed[spec.name] for spec in INPUTS])
        return both[:, 0] - both[:, 1]

    return LikeLesson(Pupil(network.shapes(), read, logit), RECIPE, seed, progress)
