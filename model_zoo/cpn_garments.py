"""CPN of garments (`garment_crops`), as a variant of the reference model."""

from __future__ import annotations

from dataclasses import replace

from model_zoo.cpn_garments_exam import EXAM
from model_zoo.cpn_layers import CAFFE_MEAN, INPUT_SCALE, Sizes, cpn_network
from model_zoo.framing import Framing
from model_zoo.garment_crops import HEIGHT, SIZE, WIDTH, crop_set
from model_zoo.garment_landmarks import GARMENT_POINTS, POINTS
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.spec import Lesson, Training, Variant
from runtime.progress import Progress

SIZES = Sizes("cpn-garments", depths=(2, 2, 2, 2), narrower=4, key_points=len(POINTS), input_size=SIZE)

NETWORK = cpn_network(SIZES, supervised=False)

_DATA = "garments of Fashion-MNIST on photographs; test images and other photographs are held out"

_EPOCHS = 18


def garments_variant(framing: Framing) -> Variant:
    """As it is run: GlobalNet's own heat maps are there while it learns, and no longer."""
    shown = InFramework(NETWORK, CAFFE_MEAN, INPUT_SCALE, framing, "BGR", images=crop_set)
    variant = variant_of(
        "cpn",
        f"CPN on bottlenecks 2-2-2-2, a quarter as wide, {HEIGHT}x{WIDTH}, {len(POINTS)} key points of"
        " garments; bench train teaches it",
        {"tensorflow": shown},
        GARMENT_POINTS,
        "mean-squared-error",  # 99.8 % of FP32's PCK@0.1
    )
    return replace(variant, training=Training(_DATA, _lesson), exams=(EXAM,))


def _lesson(seed: int, progress: Progress) -> Lesson:
    from model_zoo.cpn_lesson import cpn_pupil
    from model_zoo.scene_lesson import Course, SceneLesson

    pupil = cpn_pupil(cpn_network(SIZES, supervised=True))
    return SceneLesson.from_archives(pupil, Course(_EPOCHS), seed, progress)
