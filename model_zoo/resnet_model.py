"""What ResNet-50 and ResNet-101 have in common as reference models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from model_zoo.imagenet_exam import judged_on_imagenet
from model_zoo.resnet import ResNet
from model_zoo.spec import CENTRED, Counts, FeedSource, ModelSpec, PaperRow, Variant
from model_zoo.tasks import CLASSIFICATION
from runtime.errors import unknown_name

if TYPE_CHECKING:
    from exporters.source import Source

CAFFE_MEAN = (103.94, 116.78, 123.68)
"""Blue, green, red; what ai-matrix subtracts (MODELS.md 4)."""


def model_of(
    network: ResNet,
    title: str,
    paper: PaperRow | None,
    others: Mapping[str, Variant] = MappingProxyType({}),
) -> ModelSpec:
    """The reference model of a network, in TensorFlow and in Caffe, with other variants of it."""
    size = network.input_size
    variant = Variant(
        description=f"{title}, stride on the first 1x1 (v1), {size}x{size}, {network.classes} classes",
        build={framework: partial(builder, network) for framework, builder in _BUILDERS.items()},
        counts={
            "tensorflow": Counts(network.parameters(stem_bias=False), network.macs),
            "caffe": Counts(network.parameters(stem_bias=network.stem_bias), network.macs),
        },
        feeds=partial(feeds_of, network),
        task=CLASSIFICATION,
        calibration_method=CENTRED,
    )
    return ModelSpec(network.name, title, paper, {"": judged_on_imagenet(variant), **others})


def build_tensorflow(network: ResNet, weights: Path | None = None) -> Source:
    """The network in TensorFlow, with seeded weights or those of a file (see resnet_weights)."""
    from model_zoo.resnet_tensorflow import tensorflow_source
    from model_zoo.resnet_weights import weights_of

    return tensorflow_source(network, weights_of(network, weights))


def build_caffe(network: ResNet, weights: Path | None = None) -> Source:
    """The network in Caffe, with seeded weights or those of a file (see resnet_weights)."""
    from model_zoo.resnet_caffe import caffe_source
    from model_zoo.resnet_weights import weights_of

    return caffe_source(network, weights_of(network, weights))


def feeds_of(network: ResNet, framework: str) -> FeedSource:
    """Photographs as the framework's network takes them; raises UsageError for an unknown framework."""
    from model_zoo.feeds import ImageFormat, image_feeds

    size = (network.input_size, network.input_size)
    if framework == "tensorflow":  # the graph itself maps 0..255 to -1..1
        return image_feeds(ImageFormat("images", size, "NHWC", "RGB"))
    if framework == "caffe":
        return image_feeds(ImageFormat("data", size, "NCHW", "BGR", CAFFE_MEAN))
    raise unknown_name(f"framework of {network.name}", framework, _BUILDERS)


_BUILDERS: Mapping[str, Callable[[ResNet, Path | None], Source]] = {
    "tensorflow": build_tensorflow,
    "caffe": build_caffe,
}
