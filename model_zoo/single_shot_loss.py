"""What a single-shot detector learns by (Liu et al. 2015, section 2.2): matched priors, and a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.detection import overlaps
from model_zoo.prior_boxes import VARIANCES
from runtime.tensors import Array

_MATCHED = 0.5
_NEGATIVES = 3
"""Priors without an object that count, for each that has one."""

Tensor = Any  # TensorFlow ships no types


def matched(
    labels: NDArray[np.int64], corners: Array, priors: Array
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Of each prior [P, 4] its label, 0 for none, and the offsets [P, 4] that make the object's box of it.

    corners: x1, y1, x2, y2 [n, 4] of the objects, as fractions of the image.
    priors:  y, x, height and width, as fractions, too.

    A prior has the object that it overlaps most, by more than one half; and every object has one of its own:
    the best pair of all first, then the best of what is left.
    """
    if not len(labels):
        return np.zeros(len(priors), np.int32), np.zeros((len(priors), 4), np.float32)
    over = overlaps(corners, _corners(priors))
    objects = over.argmax(axis=0)
    found = over.max(axis=0) > _MATCHED
    for _ in labels:
        index, best = np.unravel_index(over.argmax(), over.shape)
        objects[best], found[best] = index, True
        over[index], over[:, best] = -1, -1
    wanted = np.where(found, labels[objects], 0).astype(np.int32)
    offsets = np.where(found[:, np.newaxis], encoded(corners[objects], priors), 0)
    return wanted, offsets.astype(np.float32)


def encoded(corners: Array, priors: Array) -> Array:
    """Offsets x, y, width, height [P, 4] of boxes from priors: what `detection_tensorflow.decoded` undoes."""
    sizes = corners[:, 2:] - corners[:, :2]
    centres = (corners[:, 2:] + corners[:, :2]) / 2
    places, scales = priors[:, 1::-1], priors[:, :1:-1]
    offsets = np.concatenate([(centres - places) / scales, np.log(sizes / scales)], axis=1)
    result: Array = offsets / VARIANCES
    return result


def _corners(priors: Array) -> Array:
    """x1, y1, x2, y2 of y, x, height and width."""
    places, halves = priors[:, 1::-1], priors[:, :1:-1] / 2
    return np.concatenate([places - halves, places + halves], axis=1)


def loss(scores: Tensor, offsets: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """Cross entropy and smooth L1 over the priors that have an object, divided by their number.

    scores: [batch, priors, classes].     offsets, wanted: [batch, priors, 4].     labels: [batch, priors].

    Of priors without one those count that say so least, three for each that has one, image by image.
    """
    import tensorflow as tf

    positive = labels > 0
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
    total = tf.reduce_sum(entropy * counted(entropy, positive))
    total += tf.reduce_sum(smooth_l1(offsets, wanted) * tf.cast(positive, tf.float32))
    return total / number_of(positive)


def counted(entropy: Tensor, positive: Tensor) -> Tensor:
    """[batch, n], 1 or 0: the positive ones, and for each three negative ones of its image that err most."""
    import tensorflow as tf

    negative = tf.where(positive, -1.0, tf.stop_gradient(entropy))
    places = tf.argsort(tf.argsort(negative, direction="DESCENDING", stable=True), stable=True)
    number = tf.reduce_sum(tf.cast(positive, tf.int32), axis=1, keepdims=True)
    return tf.cast(positive | ((places < _NEGATIVES * number) & ~positive), tf.float32)


def smooth_l1(found: Tensor, wanted: Tensor) -> Tensor:
    """Summed over the last axis (Girshick 2015, "Fast R-CNN", equation 3)."""
    import tensorflow as tf

    distance = tf.abs(found - wanted)
    return tf.reduce_sum(tf.where(distance < 1, distance**2 / 2, distance - 0.5), axis=-1)


def number_of(positive: Tensor) -> Tensor:
    """How many, at least 1, so that a loss can be divided by it."""
    import tensorflow as tf

    return tf.cast(tf.maximum(tf.reduce_sum(tf.cast(positive, tf.int32)), 1), tf.float32)
