"""What Mask R-CNN is judged on: the scenes of `garments_exam`, with the pixels of each garment.

Its boxes come from the branch that is Faster R-CNN with a pyramid of features: their figure is of that, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from model_zoo.garment_scenes import SIDE, Scene
from model_zoo.garments_exam import DATA, Ask, asked, held_out, image_feed, said, truth_of
from model_zoo.instances import InstancesInImage, in_image, instances
from model_zoo.mask_rcnn_layers import RGB_MEAN, WINDOW
from model_zoo.metrics.coco_masks import run_lengths
from model_zoo.metrics.objects import TrueObjects
from model_zoo.network import RGB_IMAGES
from model_zoo.spec import Exam, Labels
from runtime.tensors import Array, Feed


def feed_of(scenes: Sequence[Scene]) -> Feed:
    """Images that fill the network's input."""
    window = np.array((0, 0, SIDE, SIDE), np.float32)
    return {**image_feed(RGB_IMAGES, RGB_MEAN, scenes), WINDOW: np.tile(window, (len(scenes), 1))}


def masked_truth(found: Scene) -> TrueObjects:
    """With the pixels of each garment; raises UnavailableError without pycocotools."""
    return replace(truth_of(found), outlines=tuple(map(run_lengths, found.masks)))


ASK: Ask = partial(asked, feed_of, masked_truth)


def answers_of(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[InstancesInImage]:
    """The objects of each image in its pixels; raises GraphError for outputs of another kind."""
    found = instances(outputs, len(feed[RGB_IMAGES]))
    return [in_image(each, SIDE, SIDE) for each in found]


EXAM = Exam(
    data=DATA,
    labels=Labels.COMPOSED,
    metrics=("coco-box-ap", "coco-mask-ap", "coco-box-ap50", "coco-mask-ap50"),
    questions=partial(held_out, ASK),
    answers=answers_of,
    say=said,
)
