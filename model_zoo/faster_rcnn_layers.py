"""Faster R-CNN (Ren et al. 2015) on VGG-16 as data, under the names of py-faster-rcnn's end-to-end prototxt.

The first half finds regions in an image of any size, the second looks at each (MODELS.md 10).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_zoo.detection_layers import ANCHORS, Proposals, RegionPool, region_heads
from model_zoo.layers import (
    Convolution,
    Dropout,
    InnerProduct,
    Layer,
    Relu,
    Softmax,
)
from model_zoo.network import (
    PIXEL_DEVIATION,
    Network,
)
from model_zoo.vgg_layers import convolutions

CAFFE_MEAN = (102.9801, 115.9465, 122.7717)
"""Blue, green, red (MODELS.md 10)."""

VOC_CLASSES = 21
INFO = "im_info"
"""Height, width and scale of each image: where in the input it ends, and how it was resized."""

STRIDE = 16
"""Pixels of the image for one of the features'."""

_POOLED = 7
_FEATURES = "relu5_3"
_OBJECTNESS, _OFFSETS = "rpn_cls_score", "rpn_bbox_pred"
_SCORES, _REFINEMENTS = "cls_score", "bbox_pred"


@dataclass(frozen=True)
class Sizes:
    """All that may differ between the network and a relative of it.

    narrower: divides all channels but the heads'.
    """

    narrower: int = 1
    classes: int = VOC_CLASSES
    input_size: tuple[int, int] = (600, 800)


def faster_rcnn_network(sizes: Sizes) -> Network:
    """`data` BGR minus a mean and `im_info`, to `cls_prob`, `bbox_pred` and the `rois` they are of."""
    return Network(
        "faster-rcnn",
        "faster-rcnn",
        "data",
        sizes.input_size,
        PIXEL_DEVIATION,
        tuple(_layers(sizes)),
        heads=region_heads(_OBJECTNESS, _OFFSETS, _SCORES, _REFINEMENTS),
        side_inputs={INFO: (3,)},
    )


def _layers(sizes: Sizes) -> Iterator[Layer]:
    yield from convolutions("data", sizes.narrower)
    yield from _region_proposals(sizes)
    yield RegionPool("roi_pool5", (_FEATURES, "rois"), _POOLED, STRIDE)
    bottom = "roi_pool5"
    for number in (6, 7):
        yield InnerProduct(f"fc{number}", (bottom,), 4096 // sizes.narrower)
        yield Relu(f"relu{number}", (f"fc{number}",))
        bottom = f"drop{number}"
        yield Dropout(bottom, (f"relu{number}",), 0.5)
    yield InnerProduct(_SCORES, (bottom,), sizes.classes)
    yield InnerProduct(_REFINEMENTS, (bottom,), 4 * sizes.classes)
    yield Softmax("cls_prob", (_SCORES,))


def _region_proposals(sizes: Sizes) -> Iterator[Layer]:
    hidden = "rpn_conv/3x3"
    yield Convolution(hidden, (_FEATURES,), 512 // sizes.narrower, 3, padding=1)
    yield Relu("rpn_relu/3x3", (hidden,))
    yield Convolution(_OBJECTNESS, ("rpn_relu/3x3",), 2 * ANCHORS, 1)
    yield Convolution(_OFFSETS, ("rpn_relu/3x3",), 4 * ANCHORS, 1)
    yield Proposals("rois", (_OBJECTNESS, _OFFSETS, INFO), STRIDE)
