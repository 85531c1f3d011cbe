"""Layers that INT8 leaves out in 16 bits instead of 32: as good there, and faster on most devices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from calibration.half import HALF_FORMATS, convert_to_half
from calibration.half_ranges import Magnitudes
from calibration.int8_plan import biased, epilogue
from calibration.kept import Kept
from calibration.precision import Precision


@dataclass(frozen=True)
class Apart:
    """The layers of an INT8 graph that are not INT8.

    layers:     names of nodes.
    precision:  what they are in: FP32, FP16 or BF16.
    magnitudes: of the float graph's tensors, by which FP16 is refused where it would overflow or underflow.
    """

    layers: Collection[str] = ()
    precision: Precision = Precision.FP32
    magnitudes: Mapping[str, Magnitudes] | None = field(default=None, repr=False)


NOTHING_APART = Apart()


def narrow(model: ir.Model, apart: Apart) -> tuple[Kept, ...]:
    """Convert what is `apart` in an INT8 graph, in place; returns a line for each of its layers.

    What a runtime fuses into a layer is converted with it: a bias that is added, an activation.
    """
    half = HALF_FORMATS[apart.precision]
    named = [node for node in model.graph if node.name in apart.layers]
    makers = (value.producer() for layer in named for value in _results(layer))
    only = {node for node in makers if node is not None}
    converted, kept = convert_to_half(model, half, apart.magnitudes, only)
    refused = {each.node: each for each in kept}
    reason = f"kept in {half.name} to hold the accuracy"
    names = [str(layer.name) for layer in named]
    return tuple(Kept(name, reason) if name in converted else refused[name] for name in names)


def _results(layer: ir.Node) -> tuple[ir.Value, ...]:
    """What it makes, alone, with its bias, and after its activation; runtimes have one kernel for all."""
    made = layer.outputs[0]
    return made, biased(made), epilogue(biased(made))
