"""An FP32 file in, the same network at another precision out."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from calibration.graphs import LEAST_OPSET, open_float_graph, save_checked
from calibration.half import HALF_FORMATS, convert_to_half
from calibration.placement import nothing_to_quantise
from calibration.precision import Precision
from calibration.qdq import insert_qdq
from calibration.ranges import Ranges
from runtime.errors import CalibrationError
from runtime.files import replacing_file
from runtime.graphs import graph_digest, load
from runtime.opset import at_opset


@dataclass(frozen=True)
class PrecisionReport:
    """What was written.

    converted: nodes that work at `precision` now.
    skipped:   (node, reason) for each that could have, and stayed in float32.
    """

    path: Path
    precision: Precision
    converted: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def write_precision(
    fp32: Path, precision: Precision, out: Path, ranges: Ranges | None = None, keep: Collection[str] = ()
) -> PrecisionReport:
    """Write `fp32` to `out` at `precision`, with the same inputs and outputs; same bytes each time.

    INT8 needs the `ranges` of this very file (calibration.collect.calibrate); the others ignore them.
    keep: names of nodes that INT8 leaves in float.
    Raises CalibrationError (no ranges, ranges of another graph, nothing to quantise), GraphError,
    StoreError.
    """
    if precision is Precision.INT8:
        return _write_int8(fp32, out, _checked_ranges(fp32, ranges), keep)
    if precision is Precision.FP32:
        _copy(fp32, out)
        return PrecisionReport(out, precision, (), ())
    model = open_float_graph(fp32)
    if precision is Precision.BF16 and model.graph.opset_imports[""] < LEAST_OPSET:
        model = at_opset(model, LEAST_OPSET)
    converted, skipped = convert_to_half(model, HALF_FORMATS[precision])
    save_checked(model, out)
    return PrecisionReport(out, precision, converted, skipped)


def _copy(fp32: Path, out: Path) -> None:
    """The same bytes, or one self-contained file where the weights lie in others."""
    model = load(fp32)
    if any(isinstance(v.const_value, ir.ExternalTensor) for v in model.graph.initializers.values()):
        save_checked(model, out)
        return
    with replacing_file(out) as temporary:
        shutil.copyfile(fp32, temporary)


def _checked_ranges(fp32: Path, ranges: Ranges | None) -> Ranges:
    if ranges is None:
        raise CalibrationError(f"int8 of {fp32} needs calibrated ranges, got none; calibrate the file first")
    digest = graph_digest(fp32)
    if ranges.graph != digest:
        raise CalibrationError(
            f"the ranges belong to graph {ranges.graph[:12]}, but {fp32} is {digest[:12]}; calibrate it again"
        )
    return ranges


def _write_int8(fp32: Path, out: Path, ranges: Ranges, keep: Collection[str]) -> PrecisionReport:
    model = open_float_graph(fp32)
    plan = insert_qdq(model, ranges, keep)
    if not plan.readers:
        raise nothing_to_quantise(fp32, model.graph)
    save_checked(model, out)
    nodes = [reader.node for reader in plan.readers] + [look_up.node for look_up in plan.look_ups]
    return PrecisionReport(out, Precision.INT8, tuple(str(node.name) for node in nodes), plan.skipped)
