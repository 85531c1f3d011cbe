"""One graph that compares a network with its INT8 form, layer by layer, and gives nothing but sums.

    FP32 network      x ---------> layer -> y          sum y^2
    shadow            x -> Q/DQ -> layer -> a          sum (y - a)^2    what the layer does by itself
    INT8 network      ...          layer -> c          sum (y - c)^2    what has come together up to it

The sums are its only outputs, so an activation lives no longer than until it is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from calibration.choices import behind_choices
from calibration.prepare import Quantisable
from calibration.shadows import Pair, Shadows
from runtime.costs import node_macs

SIGNAL, ALONE, TOGETHER = "signal", "alone", "together"
"""The sums of a layer."""


@dataclass(frozen=True)
class ComparedLayer:
    """A quantised layer; `macs` are of one sample; `sums` maps what is summed to the output that holds it.

    TOGETHER is missing where the INT8 network may look at other things than the FP32 one.
    """

    node: str
    op_type: str
    macs: int
    sums: Mapping[str, str]


@dataclass(frozen=True)
class Merged:
    """What was written; `macs` are those of the whole network, for one sample."""

    layers: tuple[ComparedLayer, ...]
    macs: int


def write_merged(quantisable: Quantisable, out: Path, sizes: Mapping[str, int]) -> Merged:
    """Write the comparing graph of `fp32` to `out`, its weights beside it; layers in the graph's order.

    sizes: of open dimensions besides the batch, by name (runtime.costs.node_macs).
    Raises CalibrationError (nothing to quantise, a missing range) and GraphError.
    """
    pair = Pair(quantisable)
    macs = node_macs(pair.model, sizes)
    unlike = behind_choices(pair.model.graph)
    comparison = _Comparison(pair.model.graph, pair.joined())
    layers = []
    for name, node in pair.layers.items():
        wanted = pair.in_float[name].outputs[0]
        sums = comparison.of(wanted, node, alike=wanted not in unlike)
        layers.append(ComparedLayer(name, node.op_type, macs.get(name, 0), sums))
    pair.save(out)
    return Merged(tuple(layers), sum(macs.values()))


class _Comparison:
    """Takes a graph's outputs away and adds sums."""

    def __init__(self, graph: ir.Graph, shadows: Shadows) -> None:
        self._graph = graph
        self._shadows = shadows
        graph.outputs.clear()

    def of(self, wanted: ir.Value, node: ir.Node, *, alike: bool) -> dict[str, str]:
        alone = self._shadows.layer(node, self._graph.append)
        sums = {SIGNAL: self._squares(wanted), ALONE: self._noise(wanted, alone)}
        return {**sums, TOGETHER: self._noise(wanted, node.outputs[0])} if alike else sums

    def _noise(self, wanted: ir.Value, found: ir.Value) -> str:
        return self._squares(self._added(ir.node("Sub", [wanted, found]), f"{found.name}/difference"))

    def _squares(self, value: ir.Value) -> str:
        total = self._added(ir.node("ReduceSumSquare", [value], {"keepdims": 0}), f"{value.name}/squares")
        total.type, total.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([])
        self._graph.outputs.append(total)
        return str(total.name)

    def _added(self, node: ir.Node, name: str) -> ir.Value:
        return self._shadows.named(node, name, self._graph.append)
