"""DSSD (Fu et al. 2017, "DSSD: Deconvolutional single shot detector") as data.

An SSD's encoder, and a decoder that goes back from its coarsest map to the finest, multiplying what it has
with the encoder's map at each size. ResNet-101's is the authors'; the others follow MODELS.md 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from model_zoo.layers import (
    Convolution,
    Deconvolution,
    Eltwise,
    Layer,
    Relu,
)
from model_zoo.network import Network
from model_zoo.residual_layers import normalised
from model_zoo.single_shot_layers import Place, Sizes, encoder_of, single_shot


@dataclass(frozen=True)
class Step:
    """How the decoder grows to the next finer map: `name` ends the layers' names."""

    name: str
    kernel: int
    stride: int
    padding: int = 0


@dataclass(frozen=True)
class Decoder:
    """Its channels, and its steps from the coarsest map on."""

    channels: int
    steps: tuple[Step, ...]


_DEEP = Decoder(512, (Step("8", 3, 1), Step("7", 3, 1), Step("6", 2, 2), Step("5", 2, 2), Step("3", 2, 2)))
DECODERS = {
    "vgg16": Decoder(
        256, (Step("8", 3, 1), Step("7", 3, 1), Step("6", 2, 2), Step("fc7", 3, 2, 1), Step("4", 2, 2))
    ),
    "resnet18": Decoder(256, (Step("5", 2, 2), Step("4", 2, 2), Step("3", 2, 2))),
    "resnet50": _DEEP,
    "resnet101": _DEEP,
}


def dssd_network(backbone: str, sizes: Sizes) -> Network:
    """`vgg16` (300x300), `resnet18`, `resnet50` or `resnet101` (321x321), with heads on the decoder."""
    encoder = encoder_of(backbone, sizes)
    decoder = DECODERS[backbone]
    *finer, coarsest = encoder.places
    layers: list[Layer] = []
    places: list[Place] = []
    bottom = coarsest.features
    for step, place in zip(decoder.steps, reversed(finer), strict=True):
        layers += _step(step, bottom, place, decoder.channels // sizes.narrower)
        bottom = f"{_combined(step)}_relu"
        places.insert(0, replace(place, features=bottom, blob=bottom))
    return single_shot(f"dssd-{backbone}", encoder, layers, (*places, coarsest), sizes)


def _step(step: Step, bottom: str, place: Place, channels: int) -> Iterator[Layer]:
    """relu(grown * encoded): the decoder's map at the size of `place`."""
    grown, encoded = f"deconv_{step.name}", f"{place.features}_pre"
    first, second = f"{encoded}1", f"{encoded}2"
    yield from normalised(
        Convolution(first, (place.features,), channels, 3, padding=1, bias=False), relu=True
    )
    yield from normalised(
        Convolution(second, (f"{first}_relu",), channels, 3, padding=1, bias=False), relu=False
    )
    yield Deconvolution(grown, (bottom,), channels, step.kernel, step.stride, step.padding)
    yield from normalised(
        Convolution(f"{grown}_pre", (grown,), channels, 3, padding=1, bias=False), relu=False
    )
    yield Eltwise(_combined(step), (f"{grown}_pre_bn", f"{second}_bn"), "PROD")
    yield Relu(f"{_combined(step)}_relu", (_combined(step),))


def _combined(step: Step) -> str:
    return f"combined_{step.name}_EltwisePROD"
