"""One topological order, whatever order the nodes came in."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir


def sort(model: ir.Model) -> None:
    """Order nodes depth first from the outputs, and initializers by their first use.

    The order follows from the edges alone, so a converter that walks hash tables still gives
    the same file in every process.
    """
    for graph in model.graphs():
        _sort_graph(graph)


def _sort_graph(graph: ir.Graph) -> None:
    nodes = tuple(graph)
    ordered = _depth_first(graph)
    rest = [node for node in nodes if node not in set(ordered)]
    graph.remove(nodes)
    graph.extend([*ordered, *rest])
    graph.sort()
    used = dict.fromkeys(value for node in graph for value in _reads(node) if value in _initializers(graph))
    initializers = [*used, *(value for value in graph.initializers.values() if value not in used)]
    graph.initializers.clear()
    for value in initializers:
        graph.register_initializer(value)
