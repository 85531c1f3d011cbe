"""Mask R-CNN (He et al. 2017) on ResNet-101 and COCO, as Matterport's Keras code has it (MODELS.md 9)."""

from __future__ import annotations

from model_zoo.coco_exam import judged_on_coco
from model_zoo.framing import Square
from model_zoo.instances import INSTANCES
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.mask_rcnn_garments import garments_variant
from model_zoo.mask_rcnn_layers import RGB_MEAN, Sizes, mask_rcnn_network
from model_zoo.spec import ModelSpec, PaperRow, Variant

_CALIBRATION_METHOD = "mean-squared-error"
"""With it the finest features keep 4.2 dB, with entropy 3.7 and with min-max 1.1 (8 photographs; seeded
weights, which carry noise on from layer to layer as trained ones do not)."""


def at_size(height: int, width: int) -> Variant:
    """The network for inputs of this height and width, multiples of 64; raises UsageError for others."""
    network = mask_rcnn_network(Sizes(input_size=(height, width)))
    variant = variant_of(
        "mask-rcnn",
        f"Mask R-CNN on ResNet-101, {height}x{width}, 1000 regions, 100 objects with masks, COCO",
        {"tensorflow": InFramework(network, RGB_MEAN, framing=Square(), black=True, told="window")},
        INSTANCES,
        _CALIBRATION_METHOD,
    )
    return judged_on_coco(variant)


SPEC = ModelSpec(
    "mask-rcnn",
    "Mask R-CNN",
    PaperRow(batch_size=1, flops=4.87e11, seconds=0.138),
    {"": at_size(1024, 1024), "garments": garments_variant()},
    at_size=at_size,
)
