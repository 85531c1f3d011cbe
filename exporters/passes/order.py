"""One topological order, whatever order the nodes came in."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir


def sort(model: ir.Model) -> None:
    """Order nodes depth first from the outputs, and initializers by their first use.

    The order follows from the edges alone, so that a converter which walks hash tables still
    gives the same file in every process.
    """
    for graph in tuple(model.graphs()):
        _sort_nodes(graph)
    for graph in tuple(model.graphs()):
        _sort_initializers(graph)


def _sort_nodes(graph: ir.Graph) -> None:
    ordered = dict.fromkeys(_depth_first(graph))
    unreached = [node for node in graph if node not in ordered]
    nodes = [*ordered, *unreached]
    graph.remove(nodes)
    graph.extend(nodes)


def _depth_first(graph: ir.Graph) -> Iterator[ir.Node]:
    """Every node after all it reads from, starting at each output in turn."""
    done: set[ir.Node] = set()
    producers = (value.producer() for value in graph.outputs)
    stack = [(node, False) for node in producers if node is not None][::-1]
    while stack:
        node, inputs_done = stack.pop()
        if inputs_done:
            done.add(node)
            yield node
        elif node not in done and node.graph is graph:
            stack.append((node, True))
            sources = (value.producer() for value in read_values(node))
            stack.extend([(source, False) for source in sources if source is not None][::-1])


def read_values(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads: its inputs, and what its subgraphs take from outside themselves."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        for graph in _graphs(attribute):
            for inner in graph.all_nodes():
                yield from (value for value in inner.inputs if value is not None)
            yield from graph.outputs


def _graphs(attribute: ir.Attr) -> tuple[ir.Graph, ...]:
    if attribute.type == ir.AttributeType.GRAPH:
        return (attribute.as_graph(),)
    return tuple(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else ()


def _sort_initializers(graph: ir.Graph) -> None:
    mine = set(graph.initializers.values())
    used = dict.fromkeys(value for node in graph for value in read_values(node) if value in mine)
    unused = [value for value in graph.initializers.values() if value not in used]
    graph.initializers.clear()
    for value in (*used, *unused):
        graph.initializers.add(value)
