"""Finds the node of a graph that a runtime's kernel was made from, by the names runtimes give kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from runtime.attestation import Ran

_PREFIX = "InsertedPrecisionFreeCast_"
"""What ONNX Runtime puts before the name of a tensor it made a float32 copy of."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that multiplies and accumulates, and all the names its runtime gives for it."""

    names: tuple[str, ...]
    ran: Ran


def trace_back(kernels: Iterable[Kernel], graph: ir.Graph, nodes: Collection[str]) -> dict[str, Ran]:
    """What became of the multiplying `nodes` of `graph`; one that no kernel can be traced to is left out.

    A kernel is called after a node, the tensor that it makes, or the last of the nodes fused into it,
    with something behind ("conv1_token_12", "query/MatMulAddFusion", "relu1_output_nchwc"). So names
    are matched by their longest beginning: to nodes and their tensors first, then to what follows them.
    """
    left = list(kernels)
    ran: dict[str, Ran] = {}
    named = [node for node in graph if node.name in nodes]
    for names_of in (_own_names, _names_behind(nodes)):
        table: dict[str, list[str]] = defaultdict(list)
        for node in named:
            for name in names_of(node):
                table[name].append(str(node.name))
        left = [kernel for kernel in left if not _claim(kernel, table, ran)]
    return ran


def _claim(kernel: Kernel, table: dict[str, list[str]], ran: dict[str, Ran]) -> bool:
    for name in sorted(_matches(kernel.names, table), key=len, reverse=True):
        node = next((node for node in table[name] if node not in ran), None)
        if node is not None:
            ran[node] = kernel.ran
            return True
    return False


def _matches(kernel: Sequence[str], names: Iterable[str]) -> set[str]:
    given = [name.removeprefix(_PREFIX) for name in kernel]
    return {name for name in names if any(_continues(text, name) for text in given)}


def _continues(kernel: str, name: str) -> bool:
    return kernel.startswith(name) and not kernel[len(name) : len(name) + 1].isalnum()


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
