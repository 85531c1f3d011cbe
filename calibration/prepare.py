"""What an INT8 file is made of: a float graph, rescaled where that helps, its ranges, and rounded weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import onnx_ir as ir

from calibration.bias import set_biases
from calibration.centring import centrable_tensors, centre
from calibration.equalisation import equalise, smooth, uneven_tensors
from calibration.gemm import split_gemms
from calibration.graphs import open_float_graph, save_checked
from calibration.int8_plan import Plan, plan_int8
from calibration.observers import ChannelExtremes, Observer, observer_maker
from calibration.qdq import carry_out
from calibration.ranges import Range, Ranges
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

    It computes what `fp32` does to the last bit, but for the rounding of a shift and what is clipped where a
    tensor is centred, and its tensors keep their names; new ones stand in front of smoothed products. Raises
    as calibration.stream.observe and save_checked.
    """
    model = open_float_graph(fp32)
    split_gemms(model.graph)
    changing = _Changing(model, feeds, progress, together)
    changed = 0
    if recipe.equalise is not None:
        changed += equalise(model.graph, changing.extremes(), recipe.equalise)
    if recipe.centre:
        changed += centre(model.graph, changing.ranges(recipe.method))
    if recipe.smooth is not None or recipe.shift:
        changed += smooth(model.graph, changing.extremes(), recipe.smooth, shift=recipe.shift)
    save_checked(model, out)
    return changed


ObserverT = TypeVar("ObserverT", bound=Observer)


@dataclass(frozen=True)
class _Changing:
    """A float graph that is changed in place, and observed as it is by then."""

    model: ir.Model
    feeds: Feeds
    progress: Progress
    together: bool

    def extremes(self) -> Mapping[str, ChannelExtremes]:
        """Of each channel of the tensors whose channels can be evened out."""
        tensors = uneven_tensors(self.model.graph)
        return self._observed({name: ChannelExtremes(name, axis) for name, axis in tensors.items()})

    def ranges(self, method: str) -> Mapping[str, Range]:
        """Of the tensors that can be centred."""
        make = observer_maker(method)
        observed = self._observed({name: make(name) for name in centrable_tensors(self.model.graph)})
        return {name: observer.range() for name, observer in observed.items()}

    def _observed(self, observers: Mapping[str, ObserverT]) -> Mapping[str, ObserverT]:
        if observers:
            with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
                graph = Path(folder) / "changing.onnx"
                save_checked(self.model, graph)
                observe(
                    graph,
                    self.feeds(),
                    observers,
                    "comparing channels",
                    self.progress,
                    together=self.together,
                )
        return observers
