"""Finds the node of a graph that a runtime's kernel was made from, by the names runtimes give kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from runtime.attestation import Ran

_PREFIXES = ("InsertedPrecisionFreeCast_", "fused ")
"""What ONNX Runtime puts before names: of a tensor it made a float32 copy of, and of a Gemm with its ReLU."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that multiplies and accumulates, and all the names its runtime gives for it."""

    names: tuple[str, ...]
    ran: Ran


def trace_back(kernels: Iterable[Kernel], graph: ir.Graph, nodes: Collection[str]) -> dict[str, Ran]:
    """What became of the multiplying `nodes` of `graph`; one that no kernel can be traced to is left out.

    A kernel is called after a node, the tensor that it makes, or the last of the nodes fused into it,
    with something behind ("conv1_token_12", "query/MatMulAddFusion", "relu1_output_nchwc"). So each name
    stands for its longest beginning among all names of the graph: "x2/bn_nchwc" is the node "x2/bn",
    never the convolution "x2". A kernel is matched to nodes and their tensors first, then to what
    follows them.
    """
    known = {name for node in graph for name in _own_names(node)} | graph.initializers.keys()
    left = [(tuple(_meant(kernel.names, known)), kernel.ran) for kernel in kernels]
    ran: dict[str, Ran] = {}
    named = [node for node in graph if node.name in nodes]
    for names_of in (_own_names, _names_behind(nodes)):
        table: dict[str, list[str]] = defaultdict(list)
        for node in named:
            for name in names_of(node):
                table[name].append(str(node.name))
        left = [(names, how) for names, how in left if not _claim(names, how, table, ran)]
    return ran


def _claim(names: Sequence[str], how: Ran, table: Mapping[str, Sequence[str]], ran: dict[str, Ran]) -> bool:
    for name in names:
        node = next((node for node in table.get(name, ()) if node not in ran), None)
        if node is not None:
            ran[node] = how
            return True
    return False


def _meant(given: Iterable[str], known: Container[str]) -> list[str]:
    """The names of the graph that a kernel's stand for, the longest first, else in the runtime's order."""
    found = (_longest_beginning(_without_prefix(name), known) for name in given)
    return sorted((name for name in found if name is not None), key=len, reverse=True)


def _without_prefix(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _longest_beginning(text: str, known: Container[str]) -> str | None:
    """One that ends where a word of `text` ends."""
    ends = (end for end in range(len(text), 0, -1) if not text[end : end + 1].isalnum())
    return next((text[:end] for end in ends if text[:end] in known), None)


def _own_names(node: ir.Node) -> Iterator[str]:
    yield str(node.name)
    yield from (str(value.name) for value in node.outputs if value.name)


def _names_behind(nodes: Collection[str]) -> Callable[[ir.Node], Iterator[str]]:
    """Names of the nodes that alone read a node's result, one after the other, up to the next product."""

    def names(node: ir.Node) -> Iterator[str]:
        reader = _only_reader(node)
        while reader is not None and reader.name not in nodes:
            yield from _own_names(reader)
            reader = _only_reader(reader)

    return names


def _only_reader(node: ir.Node) -> ir.Node | None:
    uses = tuple(node.outputs[0].uses())
    return uses[0].node if len(uses) == 1 else None
