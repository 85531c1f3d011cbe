"""Mask R-CNN as a pupil: what it is told of scenes of garments, and a step of learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.batch_statistics import LEARNING
from model_zoo.detection_tensorflow import joined
from model_zoo.garment_scenes import MOST, SIDE, Scene
from model_zoo.layers import Layer
from model_zoo.layers_tensorflow import Operation, evaluate_several
from model_zoo.learner import Learner
from model_zoo.mask_rcnn_garments_exam import ASK, EXAM
from model_zoo.mask_rcnn_layers import RGB_MEAN, PyramidProposals, RefinedDetections
from model_zoo.mask_rcnn_tensorflow import OPERATIONS, anchors
from model_zoo.network import Network
from model_zoo.region_loss import (
    Drawn,
    Objects,
    drawn_regions,
    mask_loss,
    mask_targets,
    matched,
    object_loss,
    region_loss,
)
from model_zoo.scene_lesson import Pupil
from model_zoo.training import Step

_DRAWN = Drawn(objects=16, nothing=32, masked=8)
"""A third on objects, as Matterport has it of 200. A mask takes 40 times the work of a class and a box."""

_SCORES, _OFFSETS, _MASKS = "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"

Tensor = Any  # TensorFlow ships no types


def mask_rcnn_pupil(network: Network) -> Pupil:
    """A network of `mask_rcnn_layers` for scenes of garments, whose heads begin at 0."""
    return Pupil(
        network,
        EXAM,
        ASK,
        teaching,
        partial(_step_of, network),
        frozenset(f"{head}/kernel" for head in network.heads),
    )


def teaching(
    scenes: Sequence[Scene], key: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.int32]]:
    """Images [batch, 128, 128, 3], labels [batch, 4], boxes [.., 4], masks [.., 128, 128], and a seed [2]."""
    labels = np.zeros((len(scenes), MOST), np.int32)
    boxes = np.zeros((len(scenes), MOST, 4), np.float32)
    masks = np.zeros((len(scenes), MOST, SIDE, SIDE), np.bool_)
    for place, found in enumerate(scenes):
        number = len(found.labels)
        labels[place, :number] = found.labels
        boxes[place, :number] = (found.corners[:, [1, 0, 3, 2]] - (0, 0, 1, 1)) / (SIDE - 1)
        masks[place, :number] = found.masks
    seed = np.array([number % 2**31 for number in key], np.int32)
    return np.stack([found.image for found in scenes]), labels, boxes, masks, seed


def _step_of(network: Network, learner: Learner) -> Step:
    """From a batch (`teaching`) to the loss; moves the weights."""
    import tensorflow as tf

    def step(images: Tensor, labels: Tensor, boxes: Tensor, masks: Tensor, seed: Tensor) -> Tensor:
        objects = Objects(labels, boxes, masks)
        pixels = tf.cast(images, tf.float32) - RGB_MEAN
        with tf.GradientTape() as tape:
            value = loss(network, learner.weights, pixels, objects, seed)
        learner.adam.step(tape.gradient(value, dict(learner.adam.variables)))
        return value

    return step


def loss(
    network: Network, weights: Mapping[str, Tensor], pixels: Tensor, objects: Objects, seed: Tensor
) -> Tensor:
    """The sum of all losses (He et al. 2017, section 3), over regions that are drawn from the network's."""
    proposals = next(layer for layer in network.layers if isinstance(layer, PyramidProposals))
    found = evaluate_several(
        network,
        {network.input_name: pixels, **dict.fromkeys(network.side_inputs)},
        weights,
        (*proposals.bottoms, proposals.name, _SCORES, _OFFSETS, _MASKS),
        stand_ins={**LEARNING, **drawing(objects, seed)},
    )
    heads = [found[name] for name in (_SCORES, _OFFSETS, _MASKS)]
    of_anchors = _of_anchors(proposals, [found[name] for name in proposals.bottoms], objects, seed)
    return of_anchors + _of_regions(found[proposals.name], heads, objects)


def drawing(objects: Objects, seed: Tensor) -> Mapping[type[Layer], Operation]:
    """Regions that are drawn in place of all, and the first on objects in place of what is found."""

    def regions(layer: PyramidProposals, bottoms: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        found = OPERATIONS[PyramidProposals](layer, bottoms, weights)
        return drawn_regions(found, objects, _DRAWN, seed)

    def detections(
        _: RefinedDetections, bottoms: Sequence[Tensor], __: Mapping[str, Tensor]
    ) -> tuple[Tensor, ...]:
        return None, bottoms[0][:, : _DRAWN.masked], None

    return {PyramidProposals: regions, RefinedDetections: detections}


def _of_anchors(layer: PyramidProposals, bottoms: Sequence[Tensor], objects: Objects, seed: Tensor) -> Tensor:
    levels = len(layer.strides)
    maps = [tuple(x.shape[1:3]) for x in bottoms[:levels]]
    boxes = anchors(maps, layer.strides, layer.anchor_sizes, layer.image_size)
    return region_loss(joined(bottoms[:levels], 2), joined(bottoms[levels:], 4), boxes, objects, seed)


def _of_regions(regions: Tensor, heads: Sequence[Tensor], objects: Objects) -> Tensor:
    """Losses of classes, boxes and masks; heads [batch * regions, ..]."""
    import tensorflow as tf

    scores, offsets, masks = heads
    count, classes, size = regions.shape[1], scores.shape[-1], masks.shape[1]
    labels, nearest = matched(regions, objects)
    boxes = tf.gather(objects.boxes, nearest, batch_dims=1)
    of_class = object_loss(
        tf.reshape(scores, (-1, count, classes)),
        tf.reshape(offsets, (-1, count, classes, 4)),
        regions,
        labels,
        boxes,
    )
    masked = slice(_DRAWN.masked)
    wanted = mask_targets(regions[:, masked], nearest[:, masked], objects, size)
    logits = tf.reshape(masks, (-1, _DRAWN.masked, size, size, classes))
    return of_class + mask_loss(logits, labels[:, masked], wanted)
