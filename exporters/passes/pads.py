"""A Pad before a convolution or a pooling becomes part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from exporters.passes.graph import attribute_ints, bypass, constant, only_reader
from runtime.tensors import Array

_NON_NEGATIVE = {"Relu", "Sigmoid", "Softmax", "Abs", "Exp"}


def fold_pads(model: ir.Model) -> None:
    """Fold constant spatial padding into `pads` where the arithmetic stays the same.

    Conv: zeros only. MaxPool pads with minus infinity, so zeros may go only where nothing is
    negative and every window holds an element. AveragePool: where padding counts as elements.
    """
    for node in tuple(model.graph.all_nodes()):
        source, reader = node.inputs[0] if node.inputs else None, only_reader(node.outputs[0])
        if node.op_type != "Pad" or source is None or reader is None:
            continue
        may_fold, pads = _FOLDABLE.get(reader.op_type), _spatial_pads(node)
        if may_fold is None or pads is None or reader.inputs[0] is not node.outputs[0]:
            continue
        total = pads + np.array(_old_pads(reader) or (0,) * pads.size)
        if _is_plain(reader) and may_fold(node, reader, total) and bypass(node, source):
            reader.attributes["pads"] = ir.AttrInt64s("pads", total.tolist())
            if reader.op_type == "AveragePool":
                reader.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)


def _into_conv(pad: ir.Node, _reader: ir.Node, _total: Array) -> bool:
    return _fill(pad) == 0


def _into_max_pool(pad: ir.Node, reader: ir.Node, total: Array) -> bool:
    zeros = _fill(pad) == 0 and not any(_old_pads(reader)) and _is_non_negative(pad.inputs[0])
    return (zeros or _fill(pad) == -np.inf) and _every_window_holds_an_element(reader, total)


def _into_average_pool(pad: ir.Node, reader: ir.Node, total: Array) -> bool:
    counts = _number(reader, "count_include_pad") or not any(_old_pads(reader))
    return _fill(pad) == 0 and bool(counts) and _every_window_holds_an_element(reader, total)


_FOLDABLE: Mapping[str, Callable[[ir.Node, ir.Node, Array], bool]] = {
    "Conv": _into_conv,
    "MaxPool": _into_max_pool,
    "AveragePool": _into_average_pool,
}


def _old_pads(reader: ir.Node) -> tuple[int, ...]:
    return attribute_ints(reader, "pads") or ()


def _every_window_holds_an_element(reader: ir.Node, total: Array) -> bool:
    kernel = attribute_ints(reader, "kernel_shape")
    return kernel is not None and bool((total.reshape(2, -1) < np.array(kernel)).all())


def _is_plain(reader: ir.Node) -> bool:
    return _text(reader, "auto_pad", "NOTSET") == "NOTSET" and not _number(reader, "ceil_mode")


def _spatial_pads(node: ir.Node) -> Array | None:
    """[begins, ends] of the spatial axes, or None for other modes, unknown or negative amounts."""
    source, amounts = node.inputs[0], constant(node.inputs[1])
    if (
        source is None
        or source.shape is None
        or amounts is None
        or _text(node, "mode", "constant") != "constant"
    ):
        return None
    rank = len(source.shape)
    full = np.zeros((2, rank), np.int64)
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    listed = np.arange(rank) if axes is None else constant(axes)
    if listed is None:
        return None
    full[:, listed] = amounts.reshape(2, -1)
    if full[:, :2].any() or (full < 0).any():
        return None
    return full[:, 2:].reshape(-1)


def _fill(node: ir.Node) -> float | None:
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is None:
        return 0.0
    value = constant(given)
    return None if value is None else float(value.item())


def _is_non_negative(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    if producer is None:
        return False
    if producer.op_type == "Clip":
        low = constant(producer.inputs[1]) if len(producer.inputs) > 1 else None
        return low is not None and bool(low.item() >= 0)
    return producer.op_type in _NON_NEGATIVE


def _text(node: ir.Node, name: str, default: str) -> str:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def _number(node: ir.Node, name: str) -> int:
    attribute = node.attributes.get(name)
    return 0 if attribute is None else attribute.as_int()
