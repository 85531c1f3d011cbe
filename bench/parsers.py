"""Whether TensorRT's ONNX parsers take the graphs of a bundle, asked before anybody carries it to a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.manifest import GraphEntry
from bench.progress import Display
from runtime.graphs import load
from runtime.trt_parser import PARSED, ask, installed

_SUPPRESSION = "NonMaxSuppression"
"""The operator of post-processing that accelerators lack, or have with limits."""


def parsed(
    folder: Path, entries: Mapping[str, GraphEntry], display: Display, *, whole: bool
) -> dict[str, GraphEntry]:
    """The same entries, with what each parser that is installed here says of the graph in `folder`.

    A refusal is told; whole: the graphs may hold post-processing that could be left out.
    """
    asked = display(entries.items(), "asking TensorRT's parser", len(entries))
    return {name: _with_answers(folder / f"{name}.onnx", entry, display, whole) for name, entry in asked}


def _with_answers(graph: Path, entry: GraphEntry, display: Display, whole: bool) -> GraphEntry:
    answers = dict(answer for flavour in installed() if (answer := ask(graph, flavour)))
    for package, said in answers.items():
        if said != PARSED:
            display.note(f"{package} does not take {graph.name}: {said}{_advice(graph, whole)}")
    return entry.model_copy(update={"parsers": answers})


def _advice(graph: Path, whole: bool) -> str:
    if not whole or all(node.op_type != _SUPPRESSION for node in load(graph).graph):
        return ""
    return "; --without-post-processing leaves out what accelerators have no kernels for"
