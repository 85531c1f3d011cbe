"""VGG-16's convolutions (Simonyan and Zisserman 2014), which detectors stand on, under Caffe's names."""

from __future__ import annotations

from collections.abc import Iterator

from model_zoo.layers import (
    Convolution,
    Layer,
    Pool,
    Relu,
)

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each stage."""


def convolutions(bottom: str, narrower: int = 1) -> Iterator[Layer]:
    """`conv1_1` to `conv5_3`, each with a ReLU (`relu1_1`, ...), and a pool between stages.

    narrower: divides the channels, for a relative small enough for a fast test.
    """
    for stage, (channels, depth) in enumerate(STAGES, start=1):
        for index in range(1, depth + 1):
            name = f"{stage}_{index}"
            yield Convolution(f"conv{name}", (bottom,), channels // narrower, 3, padding=1)
            bottom = f"relu{name}"
            yield Relu(bottom, (f"conv{name}",))
        if stage < len(STAGES):
            yield Pool(f"pool{stage}", (bottom,), "MAX", 2, 2)
            bottom = f"pool{stage}"
