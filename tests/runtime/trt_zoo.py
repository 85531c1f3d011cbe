"""Asks TensorRT-RTX for everything of a graph that it does without a GPU: to parse, to type, to build."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.errors import UnsupportedError
from runtime.isolation import Worker
from runtime.memory import MemoryEstimate, check_memory
from runtime.trt_library import RTX, library
from runtime.trt_parser import PARSED, ask
from runtime.trt_plan import build_plan
from tests.runtime.trt_types import differences, products_of_file, products_of_network

LARGEST_TRANSLATION = 2**26
"""Bytes of a file up to which a loop over words is built: TensorRT copies what is inside several times.
All of NMT takes 35 s and 7 GB a precision; the same network with fewer units takes 2 s."""

_FIXED = 2**29
_COPIES = 6
"""A build takes less than 0.5 GiB and six files: ResNet50 (97 MiB) 0.76 GB, BERT base (415 MiB) 2.5 GB."""


_LIMIT_SECONDS = 900.0
"""For one build: NMT in one graph takes 35 s on two cores that have nothing else to do."""

_STORED_AS = {
    "fp32": "FLOAT",
    "fp16": "HALF",
    "bf16": "BF16",
    "int8": "INT8",
    "int8-mixed": "INT8",
    "fp8": "FP8",
    "int4": "INT4",
}
"""Precision to the type that products of such a file compute in or read."""


def refusal(graph: Path, precision: str, sizes: Mapping[str, int], *, build: bool = True) -> str:
    """What is said against a graph, in a line; "" where it is built, typed as its file and precision say.

    sizes: of open dimensions, by name.     build: False leaves it at the types.
    Raises AssertionError for other types, and MemoryError where this machine has too little to build it.
    """
    answer = ask(graph, RTX)
    assert answer is not None
    if answer[1] != PARSED:
        return answer[1]
    if build:
        _check_room(graph)
    with Worker(_LIMIT_SECONDS) as worker:  # which gives back the gigabytes that a builder keeps
        types, unlike, said = worker.call(f"building {graph.name}", _built, graph, sizes, build)
    assert not types or _STORED_AS[precision] in types
    assert unlike == []
    return said


def _built(graph: Path, sizes: Mapping[str, int], build: bool) -> tuple[set[str], list[str], str]:
    """The types of the file's products, where TensorRT's are others, and what it says against building."""
    products = products_of_file(graph)
    types = {each for typed in products.values() for each in (typed.computes, *typed.reads)}
    unlike = [str(each) for each in differences(products, products_of_network(library(RTX), graph))]
    try:
        if build:
            build_plan(graph, RTX, sizes)
    except UnsupportedError as error:
        return types, unlike, str(error)
    return types, unlike, ""


def _check_room(graph: Path) -> None:
    needed = MemoryEstimate(_FIXED + _COPIES * graph.stat().st_size, 0)
    try:
        check_memory(needed, 1, f"building {graph.name}", any_batch=False)
    except UnsupportedError as error:
        raise MemoryError(str(error)) from error
