"""What a detector with a region proposal network learns by: its targets, drawn by a seed, and its losses.

Regions as Ren et al. 2015, section 3.1.2, have them; objects and masks as He et al. 2017, section 3.1, in the
numbers and units of Matterport's Mask R-CNN (MODELS.md 9). Boxes are corners y, x, y, x, from 0 at an image's
first pixel to 1 at its last; objects of area 0 fill a list up, and are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model_zoo.mask_rcnn_tensorflow import DEVIATIONS

_ANCHOR_IS_OBJECT = 0.7
_ANCHOR_IS_NOTHING = 0.3
_REGION_IS_OBJECT = 0.5
_AS_MUCH = 1 - 1e-5
"""Anchors inside of an object overlap it alike, but for the rounding of float32."""

_ANCHORS_DRAWN = 64
"""Of an image, half of them on objects at most. 256 of the paper's 20,000, of some 4,000."""

_SMALLEST = 1e-6
"""Side of a box: an empty one has no logarithm."""

Tensor = Any  # TensorFlow ships no types


@dataclass(frozen=True)
class Objects:
    """What there is in a batch: labels [batch, n], boxes [batch, n, 4], masks [batch, n, height, width]."""

    labels: Tensor
    boxes: Tensor
    masks: Tensor


@dataclass(frozen=True)
class Drawn:
    """How many regions of an image are drawn: those on objects come first, then those on nothing.

    masked: of those on objects, how many have their masks learned.
    """

    objects: int
    nothing: int
    masked: int


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union [batch, n, m] of boxes [.., n, 4] and others [.., m, 4]; 0 for empty ones."""
    import tensorflow as tf

    one, other = boxes[:, :, tf.newaxis], others[:, tf.newaxis]
    low, high = tf.maximum(one[..., :2], other[..., :2]), tf.minimum(one[..., 2:], other[..., 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0), axis=-1)
    return tf.math.divide_no_nan(shared, _area(one) + _area(other) - shared)


def _area(boxes: Tensor) -> Tensor:
    """[..] of boxes [.., 4]."""
    import tensorflow as tf

    return tf.reduce_prod(tf.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)


def encoded(boxes: Tensor, objects: Tensor) -> Tensor:
    """Offsets [.., 4] that make objects of boxes, in units of DEVIATIONS: what the network's ends undo."""
    import tensorflow as tf

    sides, wanted = (tf.maximum(each[..., 2:] - each[..., :2], _SMALLEST) for each in (boxes, objects))
    centres = boxes[..., :2] + sides / 2
    moves = (objects[..., :2] + wanted / 2 - centres) / sides
    return tf.concat([moves, tf.math.log(wanted / sides)], axis=-1) / DEVIATIONS


def anchors_on_objects(over: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Of overlaps [batch, anchors, objects] which anchors are on one and which on nothing [batch, anchors].

    On an object is one that overlaps it by 0.7, or as much as any anchor does; on nothing one with less than
    0.3 of all. Those across the image's edge count, too (Lin et al. 2017, section 5.1).
    """
    import tensorflow as tf

    most = tf.reduce_max(over, axis=1, keepdims=True)
    real = (_area(boxes) > 0)[:, tf.newaxis]
    best = tf.reduce_any((over >= most * _AS_MUCH) & (most > 0) & real, axis=2)
    highest = tf.reduce_max(over, axis=2)
    on_object = best | (highest >= _ANCHOR_IS_OBJECT)
    return on_object, (highest < _ANCHOR_IS_NOTHING) & ~on_object


def drawn_anchors(on_object: Tensor, on_nothing: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Of both kinds [batch, anchors] those that count: half and half, or more of the second kind."""
    import tensorflow as tf

    order = tf.random.stateless_uniform(tf.shape(on_object), seed)
    first = on_object & (_place(on_object, order) < _ANCHORS_DRAWN // 2)
    number = tf.reduce_sum(tf.cast(first, tf.int32), axis=1, keepdims=True)
    return first, on_nothing & (_place(on_nothing, order) < _ANCHORS_DRAWN - number)


def _place(chosen: Tensor, order: Tensor) -> Tensor:
    """[batch, n]: the place of each of the chosen in this order, from 0; the others come behind."""
    import tensorflow as tf

    return tf.argsort(tf.argsort(tf.where(chosen, order, 2.0), stable=True), stable=True)


def drawn_regions(regions: Tensor, objects: Objects, drawn: Drawn, seed: Tensor) -> Tensor:
    """Boxes [batch, objects + nothing, 4] out of regions [batch, n, 4] and the objects themselves.

    Where there are fewer than are to be drawn, they are taken more than once: empty ones in their places
    would count in a normalisation's statistics.
    """
    import tensorflow as tf

    all_boxes = tf.concat([regions, objects.boxes], axis=1)
    on_object = tf.reduce_max(overlaps(all_boxes, objects.boxes), axis=2) >= _REGION_IS_OBJECT
    on_nothing = ~on_object & (_area(all_boxes) > 0)
    order = tf.random.stateless_uniform(tf.shape(on_object), seed)
    parts = [
        _taken(all_boxes, of_kind, order, number)
        for of_kind, number in ((on_object, drawn.objects), (on_nothing, drawn.nothing))
    ]
    return tf.stop_gradient(tf.concat(parts, axis=1))


def _taken(boxes: Tensor, chosen: Tensor, order: Tensor, number: int) -> Tensor:
    """`number` of the chosen boxes, in turn; of none the first box."""
    import tensorflow as tf

    ranked = tf.argsort(tf.where(chosen, order, 2.0), stable=True)
    count = tf.maximum(tf.reduce_sum(tf.cast(chosen, tf.int32), axis=1, keepdims=True), 1)
    places = tf.range(number)[tf.newaxis] % count
    return tf.gather(boxes, tf.gather(ranked, places, batch_dims=1), batch_dims=1)


def matched(boxes: Tensor, objects: Objects) -> tuple[Tensor, Tensor]:
    """Of boxes [batch, n, 4] the label [batch, n], 0 for none, and which object is nearest [batch, n]."""
    import tensorflow as tf

    over = overlaps(boxes, objects.boxes)
    nearest = tf.argmax(over, axis=2, output_type=tf.int32)
    labels = tf.gather(objects.labels, nearest, batch_dims=1)
    return tf.where(tf.reduce_max(over, axis=2) >= _REGION_IS_OBJECT, labels, 0), nearest


def mask_targets(boxes: Tensor, nearest: Tensor, objects: Objects, size: int) -> Tensor:
    """0 and 1 [batch, n, size, size]: of each box the nearest object's mask in it.

    A cell has the mask's value at its middle, as instances.pasted lays cells out; Matterport's crops read
    from edge to edge, half a cell further out.
    """
    import tensorflow as tf

    count, (height, width) = boxes.shape[1], objects.masks.shape[2:]
    flat = tf.reshape(objects.masks, (-1, height, width, 1))
    first = tf.range(tf.shape(boxes)[0])[:, tf.newaxis] * objects.masks.shape[1]
    last = (height - 1, width - 1)
    low, high = boxes[..., :2] * last - 0.5, boxes[..., 2:] * last + 0.5
    inset = (high - low) / (2 * size)
    middles = tf.concat([(low + inset) / last, (high - inset) / last], axis=-1)
    crops = tf.image.crop_and_resize(
        tf.cast(flat, tf.float32),
        tf.reshape(middles, (-1, 4)),
        tf.reshape(first + nearest, (-1,)),
        (size, size),
    )
    return tf.reshape(tf.round(crops), (-1, count, size, size))


def region_loss(scores: Tensor, offsets: Tensor, anchors: Tensor, objects: Objects, seed: Tensor) -> Tensor:
    """Cross entropy of drawn anchors, and smooth L1 of the offsets of those on objects: means of both.

    scores: [batch, n, 2], nothing and object.     offsets: [batch, n, 4].     anchors: [n, 4].
    """
    import tensorflow as tf

    boxes = tf.broadcast_to(anchors, tf.shape(offsets))
    over = overlaps(boxes, objects.boxes)
    positive, negative = drawn_anchors(*anchors_on_objects(over, objects.boxes), seed)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(positive, tf.int32), scores)
    nearest = tf.gather(objects.boxes, tf.argmax(over, axis=2), batch_dims=1)
    wanted = encoded(boxes, nearest)
    return _mean(entropy, positive | negative) + _mean(_smooth(offsets - wanted), positive)


def object_loss(scores: Tensor, offsets: Tensor, regions: Tensor, labels: Tensor, boxes: Tensor) -> Tensor:
    """Cross entropy of regions, and smooth L1 of their own class's offsets from `boxes`: means of both.

    scores: [batch, n, classes].     offsets: [batch, n, classes, 4].     regions, boxes: [batch, n, 4].
    """
    import tensorflow as tf

    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
    own = tf.gather(offsets, labels, batch_dims=2)
    return tf.reduce_mean(entropy) + _mean(_smooth(own - encoded(regions, boxes)), labels > 0)


def mask_loss(logits: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """Mean binary cross entropy of the masks of the regions' own classes, where they have one.

    logits: [batch, n, height, width, classes].     labels: [batch, n].     wanted: [batch, n, height, width].
    """
    import tensorflow as tf

    own = tf.gather(tf.transpose(logits, (0, 1, 4, 2, 3)), labels, batch_dims=2)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(wanted, own)
    return _mean(tf.reduce_mean(entropy, axis=(2, 3)), labels > 0)


def _smooth(distance: Tensor) -> Tensor:
    """Smooth L1 (Girshick 2015, "Fast R-CNN", equation 3): its mean over the last axis."""
    import tensorflow as tf

    size = tf.abs(distance)
    return tf.reduce_mean(tf.where(size < 1, size**2 / 2, size - 0.5), axis=-1)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Over those that count; 0 where none does."""
    import tensorflow as tf

    weights = tf.cast(counted, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))
