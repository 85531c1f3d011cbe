"""VGG-16's convolutions (Simonyan and Zisserman 2014), which detectors stand on, under Caffe's names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from model_zoo.layers import (
    BatchNorm,
    Convolution,
    Layer,
    Pool,
    Relu,
)

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each stage."""


def convolutions(bottom: str, narrower: int = 1, *, normalised: bool = False) -> Iterator[Layer]:
    """`conv1_1` to `conv5_3`, each with a ReLU (`relu1_1`, ...), and a pool between stages.

    narrower:   divides the channels, for a relative small enough for a fast test.
    normalised: as `rectified` has it.
    """
    for stage, (channels, depth) in enumerate(STAGES, start=1):
        for index in range(1, depth + 1):
            name = f"{stage}_{index}"
            convolution = Convolution(f"conv{name}", (bottom,), channels // narrower, 3, padding=1)
            bottom = f"relu{name}"
            yield from rectified(convolution, bottom, normalised=normalised)
        if stage < len(STAGES):
            yield Pool(f"pool{stage}", (bottom,), "MAX", 2, 2)
            bottom = f"pool{stage}"


def rectified(convolution: Convolution, relu: str, *, normalised: bool) -> Iterator[Layer]:
    """A convolution and the ReLU of this name; between them a normalisation, which does the bias' work."""
    name = convolution.name
    if normalised:
        yield replace(convolution, bias=False)
        yield BatchNorm(f"{name}_bn", (name,), f"{name}_scale")
        yield Relu(relu, (f"{name}_bn",))
    else:
        yield convolution
        yield Relu(relu, (name,))
