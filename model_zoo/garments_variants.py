"""Detectors of garments (`garment_scenes`), as variants of the single-shot reference models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from model_zoo.detection import SINGLE_SHOT
from model_zoo.framing import Warp
from model_zoo.garment_scenes import KINDS, SIDE, scene_set
from model_zoo.garments_exam import exam_of
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.network import Network
from model_zoo.single_shot_layers import TENSORFLOW_MEAN, Sizes
from model_zoo.spec import Lesson, Training, Variant
from runtime.progress import Progress

_SIZES = Sizes(narrower=4, classes=1 + len(KINDS), input_size=(SIDE, SIDE), centred=True, tensorflow=True)

NAMES = ("background", *KINDS)

DATA = "garments of Fashion-MNIST pasted on photographs; test images and other photographs are held out"

CALIBRATION_METHOD = "min-max"
"""INT8 by it keeps 99.9 % of the mAP, and of Mask R-CNN's box AP; by the mean squared error and by entropy
that keeps 99.6 % (250 scenes, which do not tell the three apart)."""


def garments_variant(
    model: str, title: str, network_of: Callable[[str, Sizes], Network], epochs: int
) -> Variant:
    """A detector on a ResNet-18 of a quarter of its width, in TensorFlow."""
    network = garments_network(model, network_of)
    shown = InFramework(network, TENSORFLOW_MEAN, framing=Warp(), images=scene_set)
    description = f"{title} on ResNet-18, a quarter as wide, {SIDE}x{SIDE}, {len(KINDS)} kinds of garments"
    variant = variant_of(
        model,
        f"{description}; bench train teaches it",
        {"tensorflow": shown},
        replace(SINGLE_SHOT, names=NAMES),
        CALIBRATION_METHOD,
    )
    return replace(
        variant,
        training=Training(DATA, partial(_lesson, network, epochs)),
        exams=(exam_of(network.input_name, TENSORFLOW_MEAN),),
    )


def garments_network(model: str, network_of: Callable[[str, Sizes], Network]) -> Network:
    """A detector of garments, with statistics of its own."""
    name = f"{model}-garments"
    return replace(network_of("resnet18", _SIZES), name=name, statistics=name)


def _lesson(network: Network, epochs: int, seed: int, progress: Progress) -> Lesson:
    from model_zoo.scene_lesson import Course, SceneLesson
    from model_zoo.single_shot_lesson import single_shot_pupil

    pupil = single_shot_pupil(network, TENSORFLOW_MEAN)
    return SceneLesson.from_archives(pupil, Course(epochs), seed, progress)
