"""Nodes that work out positions: boxes, and places in a tensor.

A position is a number of which every digit counts: 16 bits tell pixel 1001 from 1002 no more, nor index 2049
from 2048, and a box that moved by a pixel can change which others it suppresses.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from runtime.costs import MULTIPLYING

REASON = "it works out positions, and those need the digits of float32"

_CHOOSES = frozenset({"NonMaxSuppression", "NonZero", "TopK"})
"""Operators that turn numbers into places."""

_READS_AT = {"RoiAlign": 1}
"""Operators that read features at positions: which input those are."""

_MOVES = frozenset(
    {
        "Compress",
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Reshape",
        "ScatterND",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)
"""Operators that hand positions on as they are."""


def position_nodes(graph: ir.Graph) -> frozenset[ir.Node]:
    """The nodes behind the last products up to what chooses places, and those that move what they made."""
    pending = [node for node in graph if _chooses(node)]
    found = dict.fromkeys(pending)
    pending += [node for node in graph if node.op_type in _READS_AT]
    while pending:
        for maker in _makers(pending.pop()):
            if maker not in found and maker.op_type not in MULTIPLYING:
                found[maker] = None
                pending.append(maker)
    for node in graph:
        if node.op_type in _MOVES and any(maker in found for maker in _makers(node)):
            found[node] = None
    return frozenset(found)


def _chooses(node: ir.Node) -> bool:
    if node.op_type == "Cast":
        wanted = ir.DataType(node.attributes.get_int("to", ir.DataType.UNDEFINED))
        return wanted.is_integer() and any(map(_is_float, node.inputs))
    return node.op_type in _CHOOSES


def _makers(node: ir.Node) -> Iterator[ir.Node]:
    """Of the floats and conditions that `node` reads; of positions alone, where it reads others at them."""
    read = node.inputs if node.op_type not in _READS_AT else [node.inputs[_READS_AT[node.op_type]]]
    for value in read:
        maker = value.producer() if value is not None else None
        if maker is not None and value is not None and (_is_float(value) or value.dtype == ir.DataType.BOOL):
            yield maker


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == ir.DataType.FLOAT
