"""A ResNet small enough for a fast test, built by the code that builds the reference networks."""

from __future__ import annotations

from model_zoo.resnet import ResNet

RELATIVE = ResNet(
    "relative",
    depths=(1, 2, 1, 1),
    numbered_stages=frozenset({3}),
    stem_bias=True,
    width=8,
    classes=10,
    input_size=64,
)
