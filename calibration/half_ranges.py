"""How large and how small the values of a graph get: what says where FP16 would overflow or underflow.

Arithmetic on what was seen, and one pass over feeds; no graph is changed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import onnx_ir as ir

from calibration.graphs import open_float_graph
from calibration.observers.contract import AnyOrder
from calibration.stream import observe
from runtime.progress import Progress, silent
from runtime.tensors import Array, Feed

HEADROOM = 4.0
"""How much larger than all that was seen a value may get.

Over 64 samples the greatest value of a tensor was up to 2.7 times that of the first 16 (DIEN; DIN 1.8, BERT
2.3). The rest is for partial sums, which may pass a sum's result: ONNX Runtime's CPU kernels and OpenVINO's
add up the products of 16-bit values in float32, but ONNX leaves that to a runtime, and one may take 16 bits.
"""

NORMAL = float(np.finfo(np.float16).smallest_normal)
"""Below it, 6.1e-5, FP16 has fewer digits the smaller a number is, and from 3e-8 on none."""


@dataclass(frozen=True)
class Magnitudes:
    """What was seen in a tensor; infinities do not count, which stay what they are in every format.

    minimum, maximum: 0 is always between them.
    lost: the share of a sample's energy (sum of squares) that the values below FP16's normal range lose by
          being rounded to FP16; of the sample that loses most.
    """

    minimum: float
    maximum: float
    lost: float

    @property
    def amax(self) -> float:
        return max(-self.minimum, self.maximum)


class MagnitudeObserver(AnyOrder):
    """The Magnitudes of what it is shown; the same in every order, and however samples are shared out."""

    def __init__(self) -> None:
        self._seen = Magnitudes(0.0, 0.0, 0.0)

    def observe(self, values: Array) -> None:
        """Take in a tensor of one sample."""
        self._add(magnitudes_of(values))

    def merge(self, other: Self) -> None:
        """Take in what another has seen."""
        self._add(other.magnitudes())

    def magnitudes(self) -> Magnitudes:
        return self._seen

    def _add(self, more: Magnitudes) -> None:
        seen = self._seen
        self._seen = Magnitudes(
            min(seen.minimum, more.minimum),
            max(seen.maximum, more.maximum),
            max(seen.lost, more.lost),
        )


def magnitudes_of(values: Array) -> Magnitudes:
    """Of one tensor of float32."""
    minimum, maximum = np.min(values, initial=0), np.max(values, initial=0)
    if not (np.isfinite(minimum) and np.isfinite(maximum)):
        values = values[np.isfinite(values)]
        minimum, maximum = np.min(values, initial=0), np.max(values, initial=0)
    return Magnitudes(float(minimum), float(maximum), _lost(values))


def observe_magnitudes(
    graph: Path, feeds: Iterable[Feed], progress: Progress = silent, *, together: bool = False
) -> Mapping[str, Magnitudes]:
    """Magnitudes of each float32 tensor of an FP32 file, by the names that calibration.graphs gives them.

    Raises what calibration.stream.observe raises.
    """
    main = open_float_graph(graph).graph
    values = (*main.inputs, *(value for node in main for value in node.outputs))
    observers = {
        str(value.name): MagnitudeObserver()
        for value in values
        if value.type == ir.TensorType(ir.DataType.FLOAT) and value.name not in main.initializers
    }
    observe(graph, feeds, observers, "finding magnitudes", progress, together=together)
    return {name: observer.magnitudes() for name, observer in observers.items()}


def _lost(values: Array) -> float:
    sizes = np.abs(values)
    small = sizes[(sizes < NORMAL) & (sizes > 0)]
    if not small.size:
        return 0.0
    error = small.astype(np.float16).astype(np.float64) - small
    return float(np.square(error).sum() / np.square(sizes, dtype=np.float64).sum())
