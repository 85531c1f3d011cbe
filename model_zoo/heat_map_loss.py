"""What CPN learns by (Chen et al. 2018, section 3): heat maps, and the squared distance from them.

How wide the heat maps are, and that GlobalNet's distances count half, is tf-cpn's (MODELS.md 11).
"""

from __future__ import annotations

from typing import Any

from model_zoo.cpn_layers import STRIDE
from model_zoo.keypoints import HIGHEST, deviation_of

DEVIATIONS = tuple(map(deviation_of, (7, 9, 11, 15)))
"""Pixels of a heat map, of GlobalNet's from the stages 2 to 5; RefineNet's are as narrow as the first."""

HARDEST = 1 / 2
"""Of an image's key points, those that RefineNet learns from: 8 of 17 were best (table 6)."""

Tensor = Any  # TensorFlow ships no types


def heat_maps(places: Tensor, size: tuple[int, int], deviation: float) -> Tensor:
    """A Gaussian [batch, height, width, points] around each of the places [batch, points, 2].

    places: x and y in pixels of the image, as `keypoints.in_image` gives them.
    """
    import tensorflow as tf

    middles = (tf.cast(places, tf.float32) - STRIDE / 2) / STRIDE
    columns, rows = (tf.range(side, dtype=tf.float32)[:, tf.newaxis] for side in size[::-1])
    across = tf.exp(-(((columns - middles[:, tf.newaxis, :, 0]) / deviation) ** 2) / 2)
    down = tf.exp(-(((rows - middles[:, tf.newaxis, :, 1]) / deviation) ** 2) / 2)
    return HIGHEST * down[:, :, tf.newaxis] * across[:, tf.newaxis]


def loss(refined: Tensor, coarse: Tensor, places: Tensor) -> Tensor:
    """RefineNet's distance at an image's hardest key points, and half of GlobalNet's at all.

    refined: [batch, height, width, points].     coarse: the same of the four stages, one after the other.
    """
    import tensorflow as tf

    size = refined.shape[1:3]
    wanted = [heat_maps(places, size, deviation) for deviation in DEVIATIONS]
    everywhere = tf.reduce_mean((coarse - tf.concat(wanted, axis=-1)) ** 2)
    return hardest(tf.reduce_mean((refined - wanted[0]) ** 2, axis=(1, 2))) + everywhere / 2


def hardest(distances: Tensor) -> Tensor:
    """The mean over the images of their largest distances [batch, points] (online hard key point mining)."""
    import tensorflow as tf

    number = max(1, round(HARDEST * distances.shape[1]))
    return tf.reduce_mean(tf.math.top_k(distances, number, sorted=False).values)
