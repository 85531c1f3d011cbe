"""Mask R-CNN of garments (`garment_scenes`), as a variant of the reference model."""

from __future__ import annotations

from dataclasses import replace

from model_zoo.framing import Warp
from model_zoo.garment_scenes import KINDS, SIDE, scene_set
from model_zoo.garments_variants import CALIBRATION_METHOD, DATA, NAMES
from model_zoo.instances import INSTANCES
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.mask_rcnn_garments_exam import EXAM
from model_zoo.mask_rcnn_layers import RGB_MEAN, Sizes, mask_rcnn_network
from model_zoo.residual_layers import RESNET18
from model_zoo.spec import Lesson, Training, Variant
from runtime.progress import Progress

SIZES = Sizes(
    "mask-rcnn-garments",
    body=replace(RESNET18, width=32, bias=True),
    narrower=8,
    classes=len(NAMES),
    input_size=(SIDE, SIDE),
    candidates=400,
    regions=100,
    kept=20,
    anchors=(16, 32, 64, 128, 256),
)
"""Anchors half as large as the reference's: a garment is 20 to 60 pixels long."""

NETWORK = mask_rcnn_network(SIZES)

_EPOCHS = 18


def garments_variant() -> Variant:
    """On a ResNet-18 of half its width, in TensorFlow."""
    shown = InFramework(NETWORK, RGB_MEAN, framing=Warp(), told="window", images=scene_set)
    variant = variant_of(
        "mask-rcnn",
        f"Mask R-CNN on ResNet-18, half as wide, {SIDE}x{SIDE}, {len(KINDS)} kinds of garments, with Faster"
        " R-CNN's boxes (on a pyramid of features); bench train teaches it",
        {"tensorflow": shown},
        replace(INSTANCES, names=NAMES),
        CALIBRATION_METHOD,
    )
    return replace(variant, training=Training(DATA, _lesson), exams=(EXAM,))


def _lesson(seed: int, progress: Progress) -> Lesson:
    from model_zoo.mask_rcnn_lesson import mask_rcnn_pupil
    from model_zoo.scene_lesson import Course, SceneLesson

    return SceneLesson.from_archives(mask_rcnn_pupil(NETWORK), Course(_EPOCHS), seed, progress)
