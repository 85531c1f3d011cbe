"""Reads ONNX Runtime's profile of one query: which kernels ran, where, and in which type."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime import origins
from runtime.attestation import UNSEEN, Ran

EVIDENCE = "onnxruntime's profile of the first query"

_KERNEL = "_kernel_time"
_TYPES = {"float": "float32", "double": "float64", "uint8": "int8"}
"""The profile's names that are not NumPy's; a uint8 kernel is INT8 arithmetic."""

_WEIGHTS_RESTORED = frozenset({"MatMulNBits"})
"""They restore weights of a few bits as they go, and compute in the type of their first input."""

_REPEATING = frozenset({"Loop", "Scan"})
"""Their own type is that of their first input, often a counter; what they multiply in, their body tells."""

_MULTIPLYING = ("Conv", "MatMul", "Gemm", "LSTM", "GRU", "RNN", "Einsum", "Attention", "Loop", "Scan")
"""What the operators that do multiply-accumulates are called, fused or not (QLinearConv, QGemm, ...), and
those that repeat others."""


@dataclass(frozen=True)
class Kernel:
    """One kernel of the profile; `type` is the NumPy name of what it computes on."""

    name: str
    op_type: str
    provider: str
    type: str

    @property
    def multiplies(self) -> bool:
        return any(word in self.op_type for word in _MULTIPLYING)


def read_kernels(profile: Path) -> tuple[Kernel, ...]:
    """The kernels of a profile file, in the order they ran."""
    return tuple(_kernels(json.loads(profile.read_text(encoding="utf-8"))))


def multiplying_kernels(kernels: Iterable[Kernel], provider: str) -> Iterator[origins.Kernel]:
    """Those that multiply and accumulate, as origins.trace_back takes them."""
    for kernel in kernels:
        if kernel.multiplies:
            yield origins.Kernel((kernel.name,), Ran(kernel.type, kernel.provider == provider))


def _kernels(events: list[dict[str, Any]]) -> Iterator[Kernel]:
    found = [(event, _kernel(event)) for event in events if _is_kernel(event)]
    for event, kernel in found:
        if kernel.op_type in _REPEATING:
            inside = {
                other.type
                for at, other in found
                if other.multiplies and other.op_type not in _REPEATING and _contains(event, at)
            }
            kernel = replace(kernel, type=inside.pop() if len(inside) == 1 else UNSEEN)  # noqa: PLW2901
        yield kernel


def _is_kernel(event: Mapping[str, Any]) -> bool:
    named = str(event.get("name", "")).endswith(_KERNEL)
    return event.get("cat") == "Node" and named and isinstance(event.get("args"), dict)


def _kernel(event: Mapping[str, Any]) -> Kernel:
    arguments = event["args"]
    return Kernel(
        event["name"].removesuffix(_KERNEL),
        str(arguments.get("op_name", "")),
        str(arguments.get("provider", "")),
        _type(str(arguments.get("op_name", "")), arguments.get("input_type_shape", [])),
    )


def _contains(repeating: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether a kernel ran while one that repeats others did: in its body."""
    begin, length = repeating.get("ts", 0), repeating.get("dur", 0)
    return event is not repeating and begin <= event.get("ts", -1) <= begin + length


def _type(op_type: str, inputs: list[dict[str, object]]) -> str:
    """The type of the first input, or int8 where any is: a DynamicQuantizeMatMul reads floats first."""
    types = [_TYPES.get(name, name) for entry in inputs for name in entry]
    if "int8" in types and op_type not in _WEIGHTS_RESTORED:
        return "int8"
    return types[0] if types else UNSEEN
