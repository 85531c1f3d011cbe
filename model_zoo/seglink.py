"""SegLink, text in any direction, on VGG-16 (MODELS.md 12), for images of any size."""

from __future__ import annotations

from model_zoo.framing import Warp
from model_zoo.icdar15_exam import judged_on_icdar15
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.seglink_layers import CAFFE_MEAN, Sizes, map_sizes, seglink_network
from model_zoo.seglink_words import words_variant
from model_zoo.spec import ModelSpec, PaperRow, Variant
from model_zoo.text_boxes import TextBoxes
from model_zoo.text_scenes import text_scene_set


def at_size(height: int, width: int, remark: str = "") -> Variant:
    """The network for images of this height and width."""
    network = seglink_network(Sizes(input_size=(height, width)))
    framework = InFramework(network, CAFFE_MEAN, framing=Warp(), order="BGR", images=text_scene_set)
    task = TextBoxes(map_sizes(network))
    variant = variant_of(
        "seglink", f"SegLink on VGG-16, {height}x{width}{remark}", {"tensorflow": framework}, task
    )
    return judged_on_icdar15(variant, task)


SPEC = ModelSpec(
    "seglink",
    "SegLink",
    PaperRow(batch_size=8, flops=2.75e12, seconds=0.421),
    {
        "": at_size(1280, 768, ", as AI Matrix ships it: upright images of a set of wide ones"),
        "corrected": at_size(768, 1280, ", as wide as the images that it is judged on"),
        "words": words_variant(),
    },
    at_size=at_size,
)
