"""The FP32 network with an input that chooses one layer to be INT8, to see what that does to the outputs.

Each layer becomes an If between the layer and its copy behind Q/DQ; only one of both is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from calibration.choices import behind_choices, comparable_ends
from calibration.graphs import add_initializer
from calibration.prepare import Quantisable
from calibration.shadows import Pair, Place, Shadows

CHOSEN = "chosen/layer"
"""The further input: the place of the INT8 layer among the layers, from 0, or NO_LAYER."""

NO_LAYER = -1


def write_switched(quantisable: Quantisable, out: Path) -> dict[str, int]:
    """Write the graph to `out`; the place of each layer that its outputs can tell something of, by name.

    The outputs are the last values that two runs of the network can be compared by (calibration.choices);
    there is no layer, and no file, where it has none. Raises CalibrationError and GraphError.
    """
    pair = Pair(quantisable)
    graph = pair.model.graph
    unlike = behind_choices(graph)
    told = [name for name in pair.layers if pair.in_float[name].outputs[0] not in unlike]
    graph.outputs[:] = comparable_ends(graph)
    if not told or not graph.outputs:
        return {}
    switches = _Switches(graph, pair.joined())
    places = {name: place for place, name in enumerate(told)}
    for name, place in places.items():
        switches.add(pair.in_float[name], pair.layers[name], place)
    common.RemoveUnusedNodesPass()(pair.model)
    graph.sort()
    pair.save(out)
    return places


_Build = Callable[[Place], ir.Value]


class _Switches:
    def __init__(self, graph: ir.Graph, shadows: Shadows) -> None:
        self._graph = graph
        self._shadows = shadows
        name = shadows.new_name(CHOSEN)
        self._chosen = ir.Value(name=name, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([]))
        graph.inputs.append(self._chosen)

    def add(self, in_float: ir.Node, quantised: ir.Node, place: int) -> None:
        before = in_float.outputs[0]
        name = f"{CHOSEN}/{place}"
        tensor = ir.tensor(np.asarray(place, np.int64), name=self._shadows.new_name(name))
        own = add_initializer(self._graph, tensor)
        asked = self._shadows.named(
            ir.node("Equal", [self._chosen, own]), f"{name}/asked", self._graph.append
        )
        copy = ir.Node("", in_float.op_type, in_float.inputs, tuple(in_float.attributes.values()))
        branches = {
            "then_branch": self._branch(before, lambda add: self._shadows.layer(quantised, add)),
            "else_branch": self._branch(before, lambda add: self._shadows.named(copy, f"{name}/float", add)),
        }
        attributes = [ir.AttrGraph(branch, graph) for branch, graph in branches.items()]
        either = self._shadows.named(ir.Node("", "If", [asked], attributes), name, self._graph.append)
        self._shadows.replace(before, either)
        self._graph.remove(in_float, safe=True)

    def _branch(self, like: ir.Value, build: _Build) -> ir.Graph:
        nodes: list[ir.Node] = []
        result = build(nodes.append)
        result.type, result.shape = like.type, like.shape
        return ir.Graph([], [result], nodes=nodes, name=f"{result.name}/branch")
