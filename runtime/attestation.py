"""From what a runtime says of its kernels to the attestation of a session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.backend import Executed

UNSEEN = "unknown"
"""The type of multiply-accumulates whose node the runtime did not mention."""


@dataclass(frozen=True)
class Ran:
    """Where a node's multiply-accumulates ran: NumPy name of the type, and on the device asked for or not."""

    type: str
    on_device: bool = True


@dataclass(frozen=True)
class Circumstances:
    """The parts of an attestation that are not counted."""

    evidence: str
    fallback_nodes: tuple[str, ...] = ()
    lowering: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    on_device_nodes: float = 1.0


def attest(macs: Mapping[str, int], ran: Mapping[str, Ran], circumstances: Circumstances) -> Executed:
    """Weigh what ran by each node's multiply-accumulates; `macs` are those of the query that ran."""
    by_type: Counter[str] = Counter()
    on_device = 0
    for node, count in macs.items():
        kernel = ran.get(node, Ran(UNSEEN, on_device=False))
        by_type[kernel.type] += count
        on_device += count * kernel.on_device
    total = sum(by_type.values())
    return Executed(
        on_device_macs=on_device / total if total else float(not circumstances.fallback_nodes),
        macs_by_type={name: count / total for name, count in by_type.items() if count},
        fallback_nodes=circumstances.fallback_nodes,
        lowering=circumstances.lowering,
        evidence=circumstances.evidence,
        settings=circumstances.settings,
        on_device_nodes=circumstances.on_device_nodes,
    )
