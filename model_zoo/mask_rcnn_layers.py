"""Mask R-CNN (He et al. 2017, "Mask R-CNN") as data, under the names of Matterport's Keras layers.

A ResNet and a pyramid of features on it; regions from five of its levels; classes and boxes of the regions;
masks of the best boxes (MODELS.md 9). All numbers of boxes are fixed, with zeros where there are fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from model_zoo.detection_layers import Part
from model_zoo.layers import (
    BatchNorm,
    Convolution,
    Deconvolution,
    Eltwise,
    FeatureMap,
    InnerProduct,
    Layer,
    Pool,
    Relu,
    Upsample,
)
from model_zoo.network import (
    PIXEL_DEVIATION,
    RGB_IMAGES,
    Head,
    Network,
)
from model_zoo.residual_layers import EPSILON, Body, body
from runtime.errors import UsageError

RGB_MEAN = (123.7, 116.8, 103.9)
"""Red, green, blue (MODELS.md 9)."""

COCO_CLASSES = 81
WINDOW = "window"
"""Where in the input the image is: y, x, y, x of two corners, in pixels."""

OUTPUTS = ("scores", "boxes", "classes", "masks")
"""Of the objects in an image, the likeliest first; a score of 0 says that there is none."""

RESNET101 = Body((3, 4, 23, 3), bias=True, dilated=False)
RESNET50 = Body((3, 4, 6, 3), bias=True, dilated=False)

_LEVELS = (2, 3, 4, 5, 6)
_ALIGNED = _LEVELS[:-1]
_TOP = 5
_STRIDES = tuple(2**level for level in _LEVELS)
_ANCHOR_SIZES = tuple(8 * stride for stride in _STRIDES)
_RATIOS = 3
_CORNERS = 4
_POOLED, _POOLED_FOR_MASKS = 7, 14
_MASK_CONVOLUTIONS = 4

# Chosen by what they lead to on photographs: a few dozen objects with a probability above one half, and
# regions that follow the objectness and not only their anchors.
_OBJECTNESS = Head(1.5, 3.0, tuple(range(0, 2 * _RATIOS, 2)))
_REGION_OFFSETS = Head(1.0)
_SCORES = Head(2.5, 6.0, (0,))
_BOX_OFFSETS = Head(1.0)
_MASK = Head(3.0)


@dataclass(frozen=True)
class Sizes:
    """All that may differ between the network and a relative of it.

    narrower:   divides the channels of all but the body and the heads.
    candidates: boxes of an image that are suppressed, at most; regions are what is left of them, at most.
    kept:       objects of an image, at most.
    anchors:    sides of the square anchors, in pixels, one for each level from the finest on.
    """

    name: str = "mask-rcnn"
    body: Body = RESNET101
    narrower: int = 1
    classes: int = COCO_CLASSES
    input_size: tuple[int, int] = (1024, 1024)
    candidates: int = 6000
    regions: int = 1000
    kept: int = 100
    anchors: tuple[int, ...] = _ANCHOR_SIZES

    def __post_init__(self) -> None:
        if any(side < 1 or side % _STRIDES[-1] for side in self.input_size):
            height, width = self.input_size
            raise UsageError(
                f"input size {height}x{width} of {self.name}: both must be multiples of {_STRIDES[-1]}, or"
                " the levels of the pyramid do not fit together"
            )


@dataclass(frozen=True)
class PyramidProposals(Layer):
    """Regions [batch, regions, 4] from objectness and offsets of the anchors on every level.

    The bottoms are the objectness of all levels, the finest first, then the offsets. Corners are y and x,
    from 0 at the first pixel to 1 at the last.
    """

    image_size: tuple[int, int]
    candidates: int
    regions: int
    strides: tuple[int, ...] = _STRIDES
    anchor_sizes: tuple[int, ...] = _ANCHOR_SIZES

    post_processing: ClassVar[bool] = True

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return FeatureMap(_CORNERS, 1, 1, regions=self.regions)


@dataclass(frozen=True)
class PyramidAlign(Layer):
    """The features of each box in size x size points, from the level that suits the box's size.

    The bottoms are boxes [batch, number, 4] and the features of the levels, the finest first.
    """

    image_size: tuple[int, int]
    size: int

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        boxes, features = bottoms[:2]
        return replace(features, height=self.size, width=self.size, regions=boxes.regions)


@dataclass(frozen=True)
class RefinedDetections(Layer):
    """Scores, boxes and classes of objects, from regions, their classes' scores and offsets, and the window.

    Lists of `kept` objects, zeros behind them.
    """

    image_size: tuple[int, int]
    kept: int

    post_processing: ClassVar[bool] = True

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return FeatureMap(_CORNERS, 1, 1, regions=self.kept)


@dataclass(frozen=True)
class ClassMasks(Layer):
    """The mask of each object's own class, as probabilities: [batch, kept, height, width].

    The bottoms are masks of all classes and the objects' classes.
    """

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], channels=1)


def mask_rcnn_network(sizes: Sizes) -> Network:
    """`images` RGB minus RGB_MEAN and `window`, to lists of objects: OUTPUTS."""
    return Network(
        sizes.name,
        sizes.name,
        RGB_IMAGES,
        sizes.input_size,
        PIXEL_DEVIATION,
        (*body(sizes.body, RGB_IMAGES), *_pyramid(sizes), *_regions(sizes), *_objects(sizes), *_masks(sizes)),
        heads={
            "rpn_class_raw": _OBJECTNESS,
            "rpn_bbox_pred": _REGION_OFFSETS,
            "mrcnn_class_logits": _SCORES,
            "mrcnn_bbox_fc": _BOX_OFFSETS,
            "mrcnn_mask": _MASK,
        },
        side_inputs={WINDOW: (_CORNERS,)},
        outputs={name: name for name in OUTPUTS},
        listed=True,
    )


def _pyramid(sizes: Sizes) -> Iterator[Layer]:
    """`fpn_p2` to `fpn_p6`: each stage's features and, doubled, those of the stage above."""
    channels = _features(sizes)
    for level in reversed(_ALIGNED):
        lateral = f"fpn_c{level}p{level}"
        yield Convolution(lateral, (sizes.body.last(level),), channels, 1)
        summed = lateral
        if level < _TOP:
            above = "fpn_c5p5" if level + 1 == _TOP else f"fpn_p{level + 1}add"
            yield Upsample(f"fpn_p{level + 1}upsampled", (above,))
            summed = f"fpn_p{level}add"
            yield Eltwise(summed, (f"fpn_p{level + 1}upsampled", lateral))
        yield Convolution(f"fpn_p{level}", (summed,), channels, 3, padding=1)
    yield Pool("fpn_p6", ("fpn_p5",), "MAX", 1, 2, ceil=False)


def _regions(sizes: Sizes) -> Iterator[Layer]:
    """One small network on all levels, and the regions that it finds: `ROI`."""
    scores, offsets = [], []
    for level in _LEVELS:
        suffix = "" if level == _LEVELS[0] else f"_p{level}"
        hidden = Convolution(
            f"rpn_conv_shared{suffix}", (f"fpn_p{level}",), 512 // sizes.narrower, 3, padding=1
        )
        rectified = f"rpn_relu_p{level}"
        score = Convolution(f"rpn_class_raw{suffix}", (rectified,), 2 * _RATIOS, 1)
        offset = Convolution(f"rpn_bbox_pred{suffix}", (rectified,), _CORNERS * _RATIOS, 1)
        yield _shared(hidden, suffix)
        yield Relu(rectified, (hidden.name,))
        yield _shared(score, suffix)
        yield _shared(offset, suffix)
        scores.append(score.name)
        offsets.append(offset.name)
    yield PyramidProposals(
        "ROI",
        (*scores, *offsets),
        sizes.input_size,
        sizes.candidates,
        sizes.regions,
        anchor_sizes=sizes.anchors,
    )


def _objects(sizes: Sizes) -> Iterator[Layer]:
    """Classes and boxes of the regions: `scores`, `boxes` and `classes`."""
    channels = 1024 // sizes.narrower
    yield PyramidAlign("roi_align_classifier", ("ROI", *_features_of_levels()), sizes.input_size, _POOLED)
    bottom = "roi_align_classifier"
    for number, kernel in ((1, _POOLED), (2, 1)):
        convolution = Convolution(f"mrcnn_class_conv{number}", (bottom,), channels, kernel)
        bottom = f"mrcnn_class_relu{number}"
        yield from _normalised(convolution, f"mrcnn_class_bn{number}", bottom)
    yield InnerProduct("mrcnn_class_logits", (bottom,), sizes.classes)
    yield InnerProduct("mrcnn_bbox_fc", (bottom,), _CORNERS * sizes.classes)
    bottoms = ("ROI", "mrcnn_class_logits", "mrcnn_bbox_fc", WINDOW)
    yield RefinedDetections("mrcnn_detection", bottoms, sizes.input_size, sizes.kept)
    for index, name in enumerate(OUTPUTS[:3]):
        yield Part(name, ("mrcnn_detection",), index)


def _masks(sizes: Sizes) -> Iterator[Layer]:
    channels = _features(sizes)
    yield PyramidAlign(
        "roi_align_mask", ("boxes", *_features_of_levels()), sizes.input_size, _POOLED_FOR_MASKS
    )
    bottom = "roi_align_mask"
    for number in range(1, 1 + _MASK_CONVOLUTIONS):
        convolution = Convolution(f"mrcnn_mask_conv{number}", (bottom,), channels, 3, padding=1)
        bottom = f"mrcnn_mask_relu{number}"
        yield from _normalised(convolution, f"mrcnn_mask_bn{number}", bottom)
    yield Deconvolution("mrcnn_mask_deconv", (bottom,), channels, 2, 2)
    yield Relu("mrcnn_mask_deconv_relu", ("mrcnn_mask_deconv",))
    yield Convolution("mrcnn_mask", ("mrcnn_mask_deconv_relu",), sizes.classes, 1)
    yield ClassMasks("masks", ("mrcnn_mask", "classes"))


def _normalised(convolution: Convolution, norm: str, relu: str) -> Iterator[Layer]:
    yield convolution
    yield BatchNorm(norm, (convolution.name,), f"{norm}_scale", EPSILON)
    yield Relu(relu, (norm,))


def _shared(convolution: Convolution, suffix: str) -> Convolution:
    """With the kernel of the finest level's, whose name has no suffix."""
    return replace(convolution, shared=convolution.name.removesuffix(suffix) if suffix else "")


def _features(sizes: Sizes) -> int:
    return 256 // sizes.narrower


def _features_of_levels() -> tuple[str, ...]:
    return tuple(f"fpn_p{level}" for level in _ALIGNED)
