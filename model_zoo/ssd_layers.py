"""SSD (Liu et al. 2015, "SSD: Single shot multibox detector") as data."""

from __future__ import annotations

from model_zoo.network import Network
from model_zoo.single_shot_layers import Sizes, encoder_of, single_shot


def ssd_network(backbone: str, sizes: Sizes) -> Network:
    """`vgg16` (300x300), `resnet18`, `resnet50` or `resnet101` (321x321), with heads on the encoder."""
    encoder = encoder_of(backbone, sizes)
    return single_shot(f"ssd-{backbone}", encoder, (), encoder.places, sizes)
