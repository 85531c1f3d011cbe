"""Picks the places that a strided 1x1 convolution reads beforehand, so that OpenVINO need not.

NOTE: where two such convolutions read one int8 tensor, as in ResNet's blocks, OpenVINO 2026.4.1 puts a
MaxPool with their strides between the conversion to float32 and the multiplication by the scale. It no longer
recognises the dequantisation then, and computes both in float32: six convolutions of ResNet50, a quarter of
its time. A MaxPool of one value behind the DQ says the same, and is understood.
"""

from __future__ import annotations

import onnx_ir as ir

PICKED = "a MaxPool of one value before strided 1x1 convolutions"


def pick_first(model: ir.Model) -> int:
    """Rewrite `model` in place, with the same values everywhere; returns how many convolutions it changed."""
    graph = model.graph
    picked: dict[tuple[ir.Value, tuple[int, ...]], ir.Value] = {}
    found = [(node, value) for node in graph if (value := _picked_from(node)) is not None]
    for node, value in found:
        strides = _integers(node, "strides")
        if (value, strides) not in picked:
            picked[value, strides] = _pool(graph, value, strides, node)
        node.replace_input_with(0, picked[value, strides])
        node.attributes["strides"] = ir.AttrInt64s("strides", [1] * len(strides))
    return len(found)


def _picked_from(node: ir.Node) -> ir.Value | None:
    """The dequantised tensor of which a convolution reads one place in so many; None for any other node.

    With a kernel of one, no kind of `auto_pad` adds anything.
    """
    if node.op_type != "Conv" or node.domain:
        return None
    value, weights = node.inputs[0], node.inputs[1]
    strided = max(_integers(node, "strides"), default=1) > 1 and not any(_integers(node, "pads"))
    if value is None or weights is None or not strided or set(_shape(weights)[2:]) != {1}:
        return None
    return value if _dequantised(value) is not None else None


def _dequantised(value: ir.Value) -> ir.Value | None:
    """What the DQ that makes `value` reads."""
    maker = value.producer()
    return maker.inputs[0] if maker is not None and maker.op_type == "DequantizeLinear" else None


def _shape(weights: ir.Value) -> tuple[int | ir.SymbolicDim, ...]:
    """As far as it is known; a DQ's is that of the constant it reads."""
    known = weights if weights.shape is not None else _dequantised(weights)
    return tuple(known.shape or ()) if known is not None else ()


def _integers(node: ir.Node, name: str) -> tuple[int, ...]:
    return tuple(node.attributes.get_ints(name, ()))


def _pool(graph: ir.Graph, value: ir.Value, strides: tuple[int, ...], before: ir.Node) -> ir.Value:
    attributes = {"kernel_shape": [1] * len(strides), "strides": list(strides)}
    pool = ir.node("MaxPool", [value], attributes, name=f"{before.name}_picked")
    pool.outputs[0].name, pool.outputs[0].type = f"{before.name}_picked", value.type
    graph.insert_before(before, pool)
    return pool.outputs[0]
