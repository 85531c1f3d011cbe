"""The layers at the end of a single-shot detector in TensorFlow, as in balancap's SSD (MODELS.md 6.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_zoo.detection_layers import KEPT, ListedDetections, Part
from model_zoo.prior_boxes import VARIANCES, prior_boxes
from runtime.tensors import Array

_LEAST_SCORE = 0.01
_CANDIDATES = 400
_OVERLAP = 0.45
_IN_ORDER_OF_PRIORS = (1, 0, 3, 2)
"""Offsets are of x, y, width and height; TensorFlow's boxes begin with y."""

Tensor = Any  # TensorFlow ships no types


def listed_detections(
    layer: ListedDetections, bottoms: Sequence[Tensor], _: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Scores [batch, classes, KEPT] and boxes [.., 4] of all classes but the background, zeros behind them.

    Boxes are y and x of two corners, as fractions of the image.
    """
    import tensorflow as tf

    *parts, image = bottoms
    cells = [tuple(features.shape[1:3]) for features in parts[::3]]
    priors = prior_boxes([source.boxes for source in layer.sources], cells, tuple(image.shape[1:3]))
    boxes = decoded(joined(parts[1::3], 4), priors)
    scores = tf.nn.softmax(joined(parts[2::3], layer.classes))[..., 1:]
    likely = tf.where(scores >= _LEAST_SCORE, scores, 0.0)
    count = min(_CANDIDATES, len(priors))
    best, places = tf.math.top_k(tf.transpose(likely, (0, 2, 1)), count)
    kept = tf.image.combined_non_max_suppression(
        tf.reshape(tf.gather(boxes, places, batch_dims=1), (-1, count, 1, 4)),
        tf.reshape(best, (-1, count, 1)),
        KEPT,
        KEPT,
        _OVERLAP,
        score_threshold=0.0,
        clip_boxes=False,
        name=layer.name,
    )
    shape = (-1, layer.classes - 1, KEPT)
    return tf.reshape(kept.nmsed_scores, shape), tf.reshape(kept.nmsed_boxes, (*shape, 4))


def part(layer: Part, bottoms: Sequence[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    return bottoms[0][layer.index]


def joined(maps: Sequence[Tensor], width: int) -> Tensor:
    """[batch, boxes, width] of maps [batch, rows, columns, boxes * width]."""
    import tensorflow as tf

    boxes = [x.shape[1] * x.shape[2] * x.shape[3] // width for x in maps]
    flat = [tf.reshape(x, (-1, count, width)) for x, count in zip(maps, boxes, strict=True)]
    return tf.concat(flat, axis=1)


def decoded(offsets: Tensor, priors: Array) -> Tensor:
    """Corners [batch, boxes, 4] of offsets [batch, boxes, 4] from priors [boxes, 4]."""
    import tensorflow as tf

    ordered = tf.gather(offsets, _IN_ORDER_OF_PRIORS, axis=-1) * VARIANCES
    places, sizes = priors[:, :2], priors[:, 2:]
    centres = ordered[..., :2] * sizes + places
    halves = tf.exp(ordered[..., 2:]) * (sizes / 2)
    return tf.concat([centres - halves, centres + halves], axis=-1)
