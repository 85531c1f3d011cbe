"""What an INT8 file is made of: a float graph, rescaled where that helps, its ranges, and rounded weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from calibration.bias import set_biases
from calibration.equalisation import equalise, smooth, uneven_tensors
from calibration.gemm import split_gemms
from calibration.graphs import open_float_graph, save_checked
from calibration.int8_plan import Plan, plan_int8
from calibration.observers.channels import ChannelExtremes
from calibration.qdq import carry_out
from calibration.ranges import Ranges
from calibration.recipe import Recipe
from calibration.stream import observe
from runtime.progress import Progress, silent
from runtime.tensors import Array, Feed

Feeds = Callable[[], Iterable[Feed]]
"""Gives the calibration samples anew each time; they are finite."""


@dataclass(frozen=True)
class Quantisable:
    """What `calibration.write.write_int8` takes.

    graph:   float.
    ranges:  of this very file.
    rounded: int8 values of weights, by name (calibration.rounding).
    biases:  of layers, by the layer's name, in place of the graph's own (calibration.bias).
    """

    graph: Path
    ranges: Ranges
    rounded: Mapping[str, Array] = field(default_factory=dict)
    biases: Mapping[str, Array] = field(default_factory=dict)


def quantise(model: ir.Model, quantisable: Quantisable, keep: Collection[str] = ()) -> Plan:
    """Make INT8 of `model`, which is `quantisable.graph`, in place; returns what was done.

    keep: names of nodes that stay in float. Raises CalibrationError for a missing range.
    """
    split_gemms(model.graph)
    plan = plan_int8(model.graph, keep)
    layers = {str(reader.node.name) for reader in plan.readers}
    set_biases(model.graph, quantisable.biases, layers)
    carry_out(plan, model.graph, quantisable.ranges, rounded=quantisable.rounded)
    return plan


def rescale(
    fp32: Path,
    out: Path,
    feeds: Feeds,
    recipe: Recipe,
    progress: Progress = silent,
    *,
    together: bool = False,
) -> int:
    """Write `fp32` with the channels that the recipe evens out rescaled; returns how many places changed.

    It computes what `fp32` does to the last bit, but for the rounding of a shift, and its tensors keep their
    names; new ones stand in front of smoothed products. Raises as calibration.stream.observe and
    save_checked.
    """
    model = open_float_graph(fp32)
    split_gemms(model.graph)
    changed = 0
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        if recipe.equalise is not None:
            extremes = _extremes(model, fp32, feeds(), progress, together=together)
            changed += equalise(model.graph, extremes, recipe.equalise)
        if recipe.smooth is not None or recipe.shift:
            graph = Path(folder) / "equalised.onnx"
            save_checked(model, graph)
            extremes = _extremes(model, graph, feeds(), progress, together=together)
            changed += smooth(model.graph, extremes, recipe.smooth, shift=recipe.shift)
        save_checked(model, out)
    return changed


def _extremes(
    model: ir.Model, graph: Path, feeds: Iterable[Feed], progress: Progress, *, together: bool
) -> dict[str, ChannelExtremes]:
    """Of each channel of the tensors that a rescaling asks for."""
    observers = {name: ChannelExtremes(name, axis) for name, axis in uneven_tensors(model.graph).items()}
    if not observers:
        return {}
    observe(graph, feeds, observers, "comparing channels", progress, together=together)
    return observers
