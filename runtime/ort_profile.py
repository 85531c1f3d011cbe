"""Reads ONNX Runtime's profile of one query: which kernels ran, where, and in which type."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime import origins
from runtime.attestation import UNSEEN, Ran

EVIDENCE = "onnxruntime's profile of the first query"

_KERNEL = "_kernel_time"
_TYPES = {"float": "float32", "double": "float64", "uint8": "int8"}
"""The profile's names that are not NumPy's; a uint8 kernel is INT8 arithmetic."""

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


def _kernels(events: list[dict[str, object]]) -> Iterator[Kernel]:
    for event in events:
        name, arguments = str(event.get("name", "")), event.get("args")
        if event.get("cat") == "Node" and name.endswith(_KERNEL) and isinstance(arguments, dict):
            yield Kernel(
                name.removesuffix(_KERNEL),
                str(arguments.get("op_name", "")),
                str(arguments.get("provider", "")),
                _type(arguments.get("input_type_shape", [])),
            )


def _type(inputs: list[dict[str, object]]) -> str:
    """The type of the first input, or int8 where any is: a DynamicQuantizeMatMul reads floats first."""
    types = [_TYPES.get(name, name) for entry in inputs for name in entry]
    if "int8" in types:
        return "int8"
    return types[0] if types else UNSEEN
