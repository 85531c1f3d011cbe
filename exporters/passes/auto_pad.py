"""Padding said in numbers instead of by the name of a rule."""

from __future__ import annotations

import onnx_ir as ir

from exporters.passes.graph import attribute_ints

_PADDED = {"Conv", "MaxPool", "AveragePool", "LpPool"}


def make_pads_explicit(model: ir.Model) -> None:
    """Turn `auto_pad` into `pads` where the spatial size is known; runtimes disagree on the rule's corners.

    SAME (ONNX operator Conv): the output is ceil(input / stride) long; an odd pixel goes to the end
    for SAME_UPPER, which is TensorFlow's rule, and to the start for SAME_LOWER.
    """
    for node in model.graph.all_nodes():
        if node.op_type not in _PADDED or "auto_pad" not in node.attributes:
            continue
        rule = node.attributes["auto_pad"].as_string()
        pads = _pads(node, rule)
        if rule == "NOTSET" or pads is not None:
            del node.attributes["auto_pad"]
        if pads is not None:
            node.attributes["pads"] = ir.AttrInt64s("pads", pads)


def _pads(node: ir.Node, rule: str) -> list[int] | None:
    kernel = _kernel(node)
    if rule == "NOTSET" or kernel is None:
        return None
    if rule == "VALID":
        return [0] * (2 * len(kernel))
    sizes = _spatial_sizes(node)
    if sizes is None:
        return None
    ones = (1,) * len(kernel)
    strides = attribute_ints(node, "strides") or ones
    dilations = attribute_ints(node, "dilations") or ones
    totals = [
        max((-(-size // stride) - 1) * stride + (extent - 1) * dilation + 1 - size, 0)
        for size, extent, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    smaller = [total // 2 for total in totals]
    larger = [total - half for total, half in zip(totals, smaller, strict=True)]
    return smaller + larger if rule == "SAME_UPPER" else larger + smaller


def _kernel(node: ir.Node) -> tuple[int, ...] | None:
    given = attribute_ints(node, "kernel_shape")
    weight = node.inputs[1] if node.op_type == "Conv" else None
    if given is not None or weight is None or weight.shape is None:
        return given
    return _whole(weight.shape)


def _spatial_sizes(node: ir.Node) -> tuple[int, ...] | None:
    source = node.inputs[0]
    if source is None or source.shape is None:
        return None
    return _whole(source.shape)


def _whole(shape: ir.Shape) -> tuple[int, ...] | None:
    """The spatial dimensions, where all are known."""
    sizes = tuple(size for size in shape[2:] if isinstance(size, int))
    return sizes if len(sizes) == len(shape) - 2 else None
