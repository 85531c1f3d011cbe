"""Mask R-CNN's own layers in TensorFlow (MODELS.md 9; see `layers_tensorflow`).

Matterport's loops over images and classes are one CombinedNonMaxSuppression each, which is the same function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from exporters.tensorflow_crop import LAST_INSIDE
from model_zoo.detection_tensorflow import joined
from model_zoo.layers import Layer
from model_zoo.mask_rcnn_layers import ClassMasks, PyramidAlign, PyramidProposals, RefinedDetections
from runtime.tensors import Array

_RATIOS = (0.5, 1.0, 2.0)
"""Width to height of the anchors in a cell."""

DEVIATIONS = (0.1, 0.1, 0.2, 0.2)
"""What offsets of y, x, height and width are in units of."""

_REGION_OVERLAP = 0.7
_OBJECT_OVERLAP = 0.3
_FINEST, _COARSEST = 2, 5
_CANONICAL_LEVEL = 4
_CANONICAL_SIZE = 224.0
_SMALLEST_AREA = 1e-12
"""Of a box, as a share of the image: an empty one has no logarithm, and its level is the finest."""

Tensor = Any  # TensorFlow ships no types
Tensors = Mapping[str, Tensor]


def anchors(
    maps: Sequence[tuple[int, int]], strides: Sequence[int], sizes: Sequence[int], image_size: tuple[int, int]
) -> Array:
    """Corners y, x, y, x [boxes, 4] of all maps, row by row, the ratios in each cell one after the other.

    A cell's boxes have their centre on its first pixel. 0 is the image's first pixel, 1 its last.
    """
    levels = []
    for (rows, columns), stride, size in zip(maps, strides, sizes, strict=True):
        centres = np.moveaxis(np.mgrid[:rows, :columns], 0, -1).reshape(-1, 1, 2) * stride
        roots = np.sqrt(_RATIOS)
        halves = np.stack([size / roots, size * roots], axis=-1) / 2
        levels.append(np.concatenate([centres - halves, centres + halves], axis=-1).reshape(-1, 4))
    corners: Array = _normalised(np.concatenate(levels), image_size).astype(np.float32)
    return corners


def _normalised(pixels: Any, image_size: tuple[int, int]) -> Any:
    """Corners in pixels, the last of which are not inside, to 0 at the first pixel and 1 at the last."""
    height, width = image_size
    shift = np.array((0, 0, 1, 1), np.float32)
    return (pixels - shift) / np.array((height - 1, width - 1) * 2, np.float32)


def _proposals(layer: PyramidProposals, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    import tensorflow as tf

    levels = len(layer.strides)
    maps = [tuple(x.shape[1:3]) for x in bottoms[:levels]]
    boxes = anchors(maps, layer.strides, layer.anchor_sizes, layer.image_size)
    pairs, offsets = joined(bottoms[:levels], 2), joined(bottoms[levels:], 4)
    count = min(layer.candidates, len(boxes))
    best, places = tf.math.top_k(tf.nn.softmax(pairs)[..., 1], count)
    chosen = tf.gather(offsets, places, batch_dims=1)
    candidates = tf.clip_by_value(_moved(tf.gather(boxes, places), chosen), 0.0, 1.0)
    kept = tf.image.combined_non_max_suppression(
        candidates[:, :, tf.newaxis],
        best[..., tf.newaxis],
        layer.regions,
        layer.regions,
        _REGION_OVERLAP,
        score_threshold=0.0,
        clip_boxes=False,
        name=layer.name,
    )
    return kept.nmsed_boxes


def _aligned(layer: PyramidAlign, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    """[batch * boxes, size, size, channels]"""
    import tensorflow as tf

    boxes, *levels = bottoms
    count = boxes.shape[1]
    image = tf.reshape(tf.tile(tf.range(tf.shape(boxes)[0])[:, tf.newaxis], (1, count)), (-1,))
    flat = tf.reshape(boxes, (-1, 4))
    # At 1 it is chance whether TensorFlow takes the last row of a box for the image's or for a row of zeros.
    inside = tf.clip_by_value(flat, 0.0, LAST_INSIDE)
    size = (layer.size, layer.size)
    chosen = _levels(flat, layer.image_size)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    aligned = tf.image.crop_and_resize(levels[0], inside, image, size)
    for number, features in enumerate(levels[1:], _FINEST + 1):
        crops = tf.image.crop_and_resize(features, inside, image, size)
        aligned = tf.where(tf.equal(chosen, number), crops, aligned)
    return aligned


def _levels(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The level whose features each of the boxes [number, 4] gets (Lin et al. 2017, equation 1)."""
    import tensorflow as tf

    sides = boxes[:, 2:] - boxes[:, :2]
    area = tf.maximum(sides[:, 0] * sides[:, 1], _SMALLEST_AREA)
    canonical = _CANONICAL_SIZE / math.sqrt(image_size[0] * image_size[1])
    octaves = tf.math.log(tf.sqrt(area) / canonical) / math.log(2)
    level = _CANONICAL_LEVEL + tf.cast(tf.round(octaves), tf.int32)
    return tf.clip_by_value(level, _FINEST, _COARSEST)


def _detections(
    layer: RefinedDetections, bottoms: Sequence[Tensor], _: Tensors
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores [batch, kept], boxes [batch, kept, 4] and classes [batch, kept]."""
    import tensorflow as tf

    regions, logits, offsets, window = bottoms
    count, classes = regions.shape[1], logits.shape[1]
    likelihoods = tf.nn.softmax(logits)
    of_class = tf.argmax(likelihoods, axis=-1, output_type=tf.int32)
    own = tf.gather(tf.reshape(offsets, (-1, classes, 4)), of_class, axis=1, batch_dims=1)
    boxes = _moved(regions, tf.reshape(own, (-1, count, 4)))
    first, last = tf.split(_normalised(window, layer.image_size)[:, tf.newaxis], 2, axis=-1)
    low, high = tf.concat([first, first], -1), tf.concat([last, last], -1)
    cut = tf.maximum(tf.minimum(boxes, high), low)
    objects = np.arange(1, classes, dtype=np.int32)
    scores = tf.where(tf.equal(of_class[:, tf.newaxis], objects), likelihoods[:, 1:], 0.0)
    kept = tf.image.combined_non_max_suppression(
        cut[:, :, tf.newaxis],
        tf.reshape(scores, (-1, count, classes - 1)),
        layer.kept,
        layer.kept,
        _OBJECT_OVERLAP,
        score_threshold=0.0,
        clip_boxes=False,
        name=layer.name,
    )
    found = kept.nmsed_scores > 0
    return kept.nmsed_scores, kept.nmsed_boxes, tf.where(found, kept.nmsed_classes + 1, 0.0)


def _class_masks(layer: ClassMasks, bottoms: Sequence[Tensor], _: Tensors) -> Tensor:
    """(The one mask is chosen before the sigmoid, which does not care.)"""
    import tensorflow as tf

    masks, classes = bottoms
    own = tf.reshape(tf.cast(classes, tf.int32), (-1,))
    height, width = masks.shape[1:3]
    chosen = tf.gather(tf.transpose(masks, (0, 3, 1, 2)), own, axis=1, batch_dims=1)
    return tf.reshape(tf.sigmoid(chosen), (-1, classes.shape[1], height, width), name=layer.name)


def _moved(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Corners [..., 4] of boxes [..., 4], moved by offsets [..., 4] of centre and size."""
    import tensorflow as tf

    scaled = offsets * DEVIATIONS
    sides = boxes[..., 2:] - boxes[..., :2]
    centres = boxes[..., :2] + sides / 2 + scaled[..., :2] * sides
    halves = sides * tf.exp(scaled[..., 2:]) / 2
    return tf.concat([centres - halves, centres + halves], axis=-1)


OPERATIONS: Mapping[type[Layer], Callable[[Any, Sequence[Tensor], Tensors], Tensor]] = {
    ClassMasks: _class_masks,
    PyramidAlign: _aligned,
    PyramidProposals: _proposals,
    RefinedDetections: _detections,
}
