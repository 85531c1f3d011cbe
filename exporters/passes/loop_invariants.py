"""What a Loop hands on unchanged from step to step, as values that its body captures.

tf2onnx makes a loop carry all that its body reads: a decoder's weights are then inputs and outputs of every
step. They no longer look like weights, ONNX Runtime copies them when the loop ends, and OpenVINO 2026.4 does
not read such a loop at all.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from exporters.passes.graph import graph_of

_OWN_INPUTS, _OWN_OUTPUTS = 2, 1
"""A loop's inputs, and its body's, begin with two of their own, its body's outputs with one."""


def capture_loop_invariants(model: ir.Model) -> None:
    """Take what a loop's body returns as it was given out of what the loop carries."""
    for node in tuple(model.graph.all_nodes()):
        if node.op_type == "Loop":
            _capture(node)


def _capture(loop: ir.Node) -> None:
    body = loop.attributes["body"].as_graph()
    invariant = {
        index: outer
        for index, outer in enumerate(loop.inputs[_OWN_INPUTS:])
        if outer is not None and _is_handed_on(body, index)
    }
    for index in sorted(invariant, reverse=True):
        body.outputs.pop(_OWN_OUTPUTS + index)
        body.inputs.pop(_OWN_INPUTS + index).replace_all_uses_with(invariant[index])
        loop.outputs[index].replace_all_uses_with(invariant[index], replace_graph_outputs=True)
    if invariant:
        _shrink(loop, invariant)


def _is_handed_on(body: ir.Graph, index: int) -> bool:
    """Whether a carried value leaves the body as it entered it."""
    value: ir.Value | None = body.outputs[_OWN_OUTPUTS + index]
    while value is not None:
        if value is body.inputs[_OWN_INPUTS + index]:
            return True
        node = value.producer()
        value = node.inputs[0] if node is not None and node.op_type == "Identity" else None
    return False


def _shrink(loop: ir.Node, gone: Collection[int]) -> None:
    """Put a loop in the place of `loop` that carries less."""
    carried = enumerate(loop.inputs[_OWN_INPUTS:])
    kept = [value for index, value in enumerate(loop.outputs) if index not in gone]
    inputs = [*loop.inputs[:_OWN_INPUTS], *(value for index, value in carried if index not in gone)]
    smaller = ir.node("Loop", inputs, num_outputs=len(kept), name=loop.name)
    graph_of(loop).insert_before(loop, smaller)
    for old, new in zip(kept, smaller.outputs, strict=True):
        new.name, new.type, new.shape = old.name, old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
    body = loop.attributes.pop("body")
    graph_of(loop).remove(loop, safe=True)
    smaller.attributes["body"] = body
