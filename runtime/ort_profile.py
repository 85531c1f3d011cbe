"""Reads ONNX Runtime's profile of one query: which kernels ran, where, and in which type."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.backend import Executed

EVIDENCE = "onnxruntime's profile of the first query"

UNSEEN = "unknown"
"""The type of multiply-accumulates whose node no kernel's name led back to."""

_KERNEL = "_kernel_time"
_TYPES = {"float": "float32", "double": "float64", "uint8": "int8"}
"""The profile's names that are not NumPy's; a uint8 kernel is INT8 arithmetic."""

_MULTIPLYING = ("Conv", "MatMul", "Gemm", "LSTM", "GRU", "RNN", "Einsum", "Attention")
"""What the operators that do multiply-accumulates are called, fused or not (QLinearConv, QGemm, ...)."""


@dataclass(frozen=True)
class Kernel:
    """One kernel of the profile; `type` is the NumPy name of what it multiplies."""

    name: str
    op_type: str
    provider: str
    type: str

    @property
    def multiplies(self) -> bool:
        return any(word in self.op_type for word in _MULTIPLYING)


def read_kernels(profile: Path) -> tuple[Kernel, ...]:
    """The kernels of a profile file, in the order they ran."""
    events = json.loads(profile.read_text(encoding="utf-8"))
    return tuple(_kernels(events))


def executed(
    kernels: tuple[Kernel, ...], macs: Mapping[str, int], provider: str, lowering: str | None
) -> Executed:
    """The attestation: `macs` are the graph's, by node name, at the sizes of the query that ran.

    A kernel made from several nodes carries the name of its multiplying one with something behind it
    ("conv1_token_12", "query/MatMulAddFusion"), so names are matched by their longest beginning.
    """
    by_type: Counter[str] = Counter()
    on_device = 0
    left = dict(macs)
    for kernel in kernels:
        node = _origin(kernel.name, left) if kernel.multiplies else None
        if node is None:
            continue
        count = left.pop(node)
        by_type[kernel.type] += count
        on_device += count * (kernel.provider == provider)
    by_type[UNSEEN] += sum(left.values())
    total = sum(by_type.values())
    return Executed(
        on_device_macs=on_device / total if total else 1.0,
        macs_by_type={name: count / total for name, count in by_type.items() if count},
        fallback_nodes=tuple(kernel.name for kernel in kernels if kernel.provider != provider),
        lowering=lowering,
        evidence=EVIDENCE,
    )


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
    """The type of the first input, or int8 where any data is: DynamicQuantizeMatMul reads floats first."""
    types = [_TYPES.get(name, name) for entry in inputs for name in entry]
    return "int8" if "int8" in types else types[0] if types else UNSEEN


def _origin(kernel: str, macs: Mapping[str, int]) -> str | None:
    matches = [node for node in macs if kernel == node or _continues(kernel, node)]
    return max(matches, key=len, default=None)


def _continues(kernel: str, node: str) -> bool:
    return kernel.startswith(node) and not kernel[len(node)].isalnum()
