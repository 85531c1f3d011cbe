"""Where two runs of a network stop being comparable value by value: behind what chooses by values."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

CHOOSING = frozenset(
    {"ArgMax", "ArgMin", "Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "TopK", "Unique"}
)
"""Behind these, two runs may hold values of different things, or differently many of them."""


def behind_choices(graph: ir.Graph) -> frozenset[ir.Value]:
    """All that is computed from what a choosing operator answers."""
    behind: set[ir.Value] = set()
    for node in graph:
        if node.op_type in CHOOSING or not behind.isdisjoint(_read(node)):
            behind.update(node.outputs)
    return frozenset(behind)


def comparable_ends(graph: ir.Graph) -> tuple[ir.Value, ...]:
    """The float32 values that outputs and choices are made of: the last that can be compared."""
    behind = behind_choices(graph)
    made = {value for node in graph for value in node.outputs} - behind
    ends = [value for value in graph.outputs if value in made]
    ends += [value for node in graph if node.op_type in CHOOSING for value in _read(node) if value in made]
    return tuple(dict.fromkeys(value for value in ends if value.dtype == ir.DataType.FLOAT))


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """Inputs, and what graphs inside of a node read from outside."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in ir.traversal.RecursiveGraphIterator(attribute.as_graph()):
                yield from (value for value in inner.inputs if value is not None)
