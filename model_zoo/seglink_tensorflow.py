"""SegLink's own layers in TensorFlow: scores, and segments in pixels of the image (MODELS.md 12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.seglink_layers import Cells, PairSoftmax, SegmentGeometry

Tensor = Any  # TensorFlow ships no types

VARIANCE = 0.1
"""Of all offsets; they are what it is multiplied by."""

SMALLEST = 1e-6
"""What a width or a height is lessened by."""


def cells(layer: Cells, bottoms: Sequence[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    import tensorflow as tf

    def flat(bottom: Tensor) -> Tensor:
        those = bottom[..., layer.first : layer.first + layer.count]
        return tf.reshape(those, (-1, those.shape[1] * those.shape[2], layer.count))

    return tf.concat([flat(bottom) for bottom in bottoms], axis=1, name=layer.name)


def pair_softmax(layer: PairSoftmax, bottoms: Sequence[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    import tensorflow as tf

    _, number, channels = bottoms[0].shape
    pairs = tf.reshape(bottoms[0], (-1, number, channels // 2, 2))
    return tf.nn.softmax(pairs, axis=-1, name=layer.name)[..., 1]


def segment_geometry(layer: SegmentGeometry, bottoms: Sequence[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    import tensorflow as tf

    sizes, centres = anchors_of(layer)
    offsets = bottoms[0] * VARIANCE
    places = offsets[..., :2] * sizes + centres
    return tf.concat(
        [places, tf.exp(offsets[..., 2:4]) * sizes - SMALLEST, offsets[..., 4:]], axis=-1, name=layer.name
    )


def anchors_of(layer: SegmentGeometry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of all cells the size [cells, 1] and the centre [cells, 2] of a segment whose offsets are 0."""
    height, width = layer.image_size
    sizes, centres = [], []
    for (rows, columns), anchor in zip(layer.maps, layer.anchors, strict=True):
        down, across = (np.mgrid[:rows, :columns] + 0.5).reshape(2, -1)
        centres.append(np.stack([across * width / columns, down * height / rows], axis=-1))
        sizes.append(np.full((rows * columns, 1), anchor))
    return np.concatenate(sizes).astype(np.float32), np.concatenate(centres).astype(np.float32)
