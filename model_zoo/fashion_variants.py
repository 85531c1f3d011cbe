"""What Fashion-MNIST teaches, as variants of the reference models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from model_zoo.fashion_exam import exam_of
from model_zoo.fashion_mnist import Inset, fashion_set
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.network import Network
from model_zoo.resnet import ResNet
from model_zoo.spec import Counts, FeedSource, Lesson, Training, Variant
from model_zoo.tasks import CLASSIFICATION
from runtime.errors import unknown_name
from runtime.progress import Progress

if TYPE_CHECKING:
    from model_zoo.fashion_lesson import Pupil

_DATA = "Fashion-MNIST, 60,000 images of garments; its 10,000 test images are held out"


def fashion_variant(
    model: str,
    description: str,
    network: Network,
    epochs: int,
    mean: float = 0.0,
    scale: float = 1.0,
) -> Variant:
    """A network that is described as layers, in TensorFlow; its pixels are (grey - mean) * scale."""

    def pupil() -> Pupil:
        from model_zoo.fashion_pupils import pupil_of

        return pupil_of(network, mean, scale)

    shown = InFramework(network, (mean,) * 3, scale, Inset(), black=True, images=fashion_set)
    variant = variant_of(model, _described(description), {"tensorflow": shown})
    return _taught(variant, pupil, epochs, mean, scale)


def residual_fashion_variant(network: ResNet, description: str, epochs: int) -> Variant:
    """A ResNet of `resnet` in TensorFlow."""

    def pupil() -> Pupil:
        from model_zoo.fashion_pupils import residual_pupil_of

        return residual_pupil_of(network)

    from model_zoo.resnet_model import build_tensorflow

    variant = Variant(
        _described(description),
        build={"tensorflow": partial(build_tensorflow, network)},
        counts={"tensorflow": Counts(network.parameters(stem_bias=False), network.macs)},
        feeds=partial(_feeds, network),
        task=CLASSIFICATION,
    )
    return _taught(variant, pupil, epochs)


def _described(network: str) -> str:
    return f"{network}, 32x32, the 10 classes of Fashion-MNIST; bench train teaches it"


def _taught(
    variant: Variant, pupil: Callable[[], Pupil], epochs: int, mean: float = 0.0, scale: float = 1.0
) -> Variant:
    return replace(
        variant,
        training=Training(_DATA, partial(_lesson, pupil, epochs)),
        exams=(exam_of("images", mean, scale),),
    )


def _lesson(pupil: Callable[[], Pupil], epochs: int, seed: int, progress: Progress) -> Lesson:
    from model_zoo.fashion_lesson import Course, FashionLesson

    return FashionLesson.from_archive(pupil(), Course(epochs), seed, progress)


def _feeds(network: ResNet, framework: str) -> FeedSource:
    from model_zoo.feeds import ImageFormat, image_feeds

    if framework != "tensorflow":
        raise unknown_name(f"framework of {network.name}", framework, ("tensorflow",))
    size = (network.input_size, network.input_size)
    return image_feeds(ImageFormat("images", size, "NHWC", "RGB", framing=Inset(), black=True), fashion_set)
