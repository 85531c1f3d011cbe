"""Writes the FP8 graph: symmetric Q/DQ to E4M3 around each Conv, Gemm and MatMul that can take it.

    x -> Q -> DQ -.
                   Conv (+ float bias) -> Relu -> ...
      w(fp8) -> DQ -'

The form in which TensorRT takes FP8, placed as INT8 is, but for what INT8 adds so that data stay integers
between the operators: pooling, sums and data movement have no FP8 kernels and stay in float.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from calibration.formats import FP8
from calibration.int8_plan import Plan, Reader, plan_int8
from calibration.qdq import carry_out
from calibration.ranges import Ranges
from runtime.errors import CalibrationError
from runtime.sizing import UnknownSizeError, size_of

OPERATORS = frozenset({"Conv", "Gemm", "MatMul"})
"""What TensorRT has FP8 kernels for, besides a residual sum."""

_NO_KERNEL = "TensorRT has FP8 kernels for Conv, Gemm and MatMul only"

CHANNELS = 16
MOST_TAPS = 32
"""What FP8 convolutions are limited to on NVIDIA's GPUs: channels in multiples of 16 on both sides, a filter
of up to 32 taps (NVIDIA ModelOpt leaves out what cannot be padded to that, onnx/quantization/fp8.py)."""

_UNFIT = f"FP8 convolutions want channels in multiples of {CHANNELS} and at most {MOST_TAPS} taps a filter"


def insert_fp8(model: ir.Model, ranges: Ranges, keep: Collection[str] = ()) -> Plan:
    """Quantise `model` in place, but for the nodes named in `keep`; returns what was done.

    ranges: those of INT8; of them the least and the greatest value count (formats.Float8).
    Raises CalibrationError for a missing range.
    """
    plan = plan_fp8(model.graph, keep)
    carry_out(plan, model.graph, ranges, FP8)
    return plan


def plan_fp8(graph: ir.Graph, keep: Collection[str] = ()) -> Plan:
    """What INT8 quantises, as far as FP8 can; a tensor that shares a scale in INT8 does here, too."""
    plan = plan_int8(graph, keep)
    multiplying = [reader for reader in plan.readers if reader.weight or reader.node.op_type in OPERATORS]
    refused = {reader.node: reason for reader in multiplying if (reason := _reason_against(reader))}
    readers = tuple(reader for reader in multiplying if reader.node not in refused)
    values = (reader.node.inputs[index] for reader in readers for index in reader.activations)
    read = {str(value.name) for value in values if value is not None}
    skipped = (*plan.skipped, *((str(node.name), reason) for node, reason in refused.items()))
    return replace(
        plan,
        readers=readers,
        sources={name: sources for name, sources in plan.sources.items() if name in read},
        integer=frozenset(),
        look_ups=(),
        skipped=skipped,
    )


def nothing_for_fp8(path: Path, graph: ir.Graph) -> CalibrationError:
    """The error for a graph whose plan has no readers."""
    reasons = dict.fromkeys(reason for _, reason in plan_fp8(graph).skipped)
    return CalibrationError(
        f"{path} has nothing to store as fp8: {'; '.join(reasons) or 'it multiplies by no weights'};"
        " use fp16, bf16 or int8"
    )


def _reason_against(reader: Reader) -> str | None:
    if reader.node.op_type not in OPERATORS:
        return _NO_KERNEL
    return _UNFIT if reader.node.op_type == "Conv" and not _fits(reader.node) else None


def _fits(convolution: ir.Node) -> bool:
    try:
        outputs, inputs, *taps = size_of(convolution.inputs[1])
    except UnknownSizeError:
        return False
    return not outputs % CHANNELS and not inputs % CHANNELS and math.prod(taps) <= MOST_TAPS
