"""Faster R-CNN (Ren et al. 2015) on VGG-16 and PASCAL VOC, for images of any size (MODELS.md 10)."""

from __future__ import annotations

from model_zoo.detection import REGIONS
from model_zoo.faster_rcnn_layers import CAFFE_MEAN, Sizes, faster_rcnn_network
from model_zoo.framing import Fit
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.spec import ModelSpec, PaperRow, Variant
from model_zoo.voc_exam import judged_on_voc


def at_size(height: int, width: int) -> Variant:
    """The network for images of this height and width; raises UsageError where they leave it no pixel."""
    network = faster_rcnn_network(Sizes(input_size=(height, width)))
    variant = variant_of(
        "faster-rcnn",
        f"Faster R-CNN on VGG-16, {height}x{width}, 300 regions, PASCAL VOC",
        {"caffe": InFramework(network, CAFFE_MEAN, framing=Fit())},
        REGIONS,
        "min-max",  # 80 % of the boxes shown stay; with `centre` and `correct` 78 (16 photographs)
    )
    return judged_on_voc(variant, REGIONS.read, shares=False, batch=1)


SPEC = ModelSpec(
    "faster-rcnn",
    "Faster R-CNN",
    PaperRow(batch_size=1, flops=3.91e11, seconds=0.071),
    {"": at_size(600, 800)},
    at_size=at_size,
)
