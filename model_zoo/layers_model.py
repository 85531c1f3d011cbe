"""What the networks that are described as layers have in common as reference models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.framing import CENTRE_CROP, Framing
from model_zoo.network import Network
from model_zoo.photographs import ImageSet, photograph_set
from model_zoo.spec import CLIPS_LITTLE, Counts, FeedSource, Task, Variant
from model_zoo.tasks import CLASSIFICATION
from runtime.errors import unknown_name
from runtime.progress import Progress

if TYPE_CHECKING:
    from exporters.source import Source
    from model_zoo.image_feeds import ChannelOrder, Layout, Told


@dataclass(frozen=True)
class InFramework:
    """A network in one framework; `mean` and `scale` are what is done to its pixels before it.

    mean:    per channel, in the order the channels are fed in.
    framing: what part of an image it sees.
    black:   beyond that are black pixels, else zeros.
    told:    what a side input says of where the image is.
    images:  what it is shown.
    order:   of its channels; None is the framework's own.
    """

    network: Network
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    framing: Framing = CENTRE_CROP
    order: ChannelOrder | None = None
    black: bool = False
    told: Told = "size_and_scale"
    images: Callable[[Progress], ImageSet] = photograph_set


def variant_of(
    model: str,
    description: str,
    frameworks: Mapping[str, InFramework],
    task: Task = CLASSIFICATION,
    calibration_method: str = CLIPS_LITTLE,
) -> Variant:
    """A variant of `model` whose network is, by the framework's name, one of `frameworks`."""
    return Variant(
        description,
        build={name: partial(_BUILDERS[name], framework.network) for name, framework in frameworks.items()},
        counts={
            name: Counts(framework.network.parameters, framework.network.macs)
            for name, framework in frameworks.items()
        },
        feeds=partial(_feeds, model, frameworks),
        task=task,
        calibration_method=calibration_method,
    )


def _feeds(model: str, frameworks: Mapping[str, InFramework], name: str) -> FeedSource:
    """Photographs as the framework's network takes them; raises UsageError for a framework it lacks."""
    from model_zoo.feeds import ImageFormat, image_feeds

    if name not in frameworks:
        raise unknown_name(f"framework of {model}", name, frameworks)
    framework = frameworks[name]
    network = framework.network
    layout, order = _PIXELS[name]
    return image_feeds(
        ImageFormat(
            network.input_name,
            network.input_size,
            layout,
            framework.order or order,
            framework.mean,
            framework.scale,
            framework.framing,
            framework.black,
            info=next(iter(network.side_inputs), ""),
            told=framework.told,
        ),
        framework.images,
    )


def _build_caffe(network: Network, weights: Path | None) -> Source:
    from model_zoo.layers_caffe import caffe_source
    from model_zoo.layers_weights import weights_of

    return caffe_source(network, weights_of(network, weights))


def _build_tensorflow(network: Network, weights: Path | None) -> Source:
    from model_zoo.layers_tensorflow import tensorflow_source
    from model_zoo.layers_weights import weights_of

    return tensorflow_source(network, weights_of(network, weights))


_BUILDERS: Mapping[str, Callable[[Network, Path | None], Source]] = {
    "caffe": _build_caffe,
    "tensorflow": _build_tensorflow,
}

_PIXELS: Mapping[str, tuple[Layout, ChannelOrder]] = {
    "caffe": ("NCHW", "BGR"),
    "tensorflow": ("NHWC", "RGB"),
}
