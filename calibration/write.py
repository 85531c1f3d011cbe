"""An FP32 file in, the same network at another precision out."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from calibration.fp8 import insert_fp8, nothing_for_fp8
from calibration.graphs import LEAST_OPSET, open_float_graph, save_checked
from calibration.half import HALF_FORMATS, convert_to_half
from calibration.half_ranges import Magnitudes
from calibration.int4 import store_weights
from calibration.int8_plan import Plan, nothing_to_quantise
from calibration.kept import Kept
from calibration.mixture import NOTHING_APART, Apart, narrow
from calibration.precision import Precision
from calibration.prepare import Quantisable, quantise
from calibration.ranges import Ranges
from runtime.errors import CalibrationError
from runtime.files import replacing_file
from runtime.graphs import graph_digest, load
from runtime.opset import at_opset


@dataclass(frozen=True)
class PrecisionReport:
    """What was written.

    converted: nodes that work at `precision` now.
    kept:      those that could have, and do not.
    """

    path: Path
    precision: Precision
    converted: tuple[str, ...]
    kept: tuple[Kept, ...]

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """(node, reason) for each of `kept`."""
        return tuple((kept.node, kept.reason) for kept in self.kept)


def write_precision(
    fp32: Path,
    precision: Precision,
    out: Path,
    ranges: Ranges | None = None,
    keep: Collection[str] = (),
    magnitudes: Mapping[str, Magnitudes] | None = None,
) -> PrecisionReport:
    """Write `fp32` to `out` at `precision`, with the same inputs and outputs; same bytes each time.

    INT8 and FP8 need the `ranges` of this very file (calibration.collect.calibrate); the others ignore them.
    keep: names of nodes that INT8, FP8 and INT4 leave in float.
    magnitudes: of the tensors (calibration.half_ranges.observe_magnitudes), by which FP16 and BF16 leave in
    float32 what would overflow or underflow; without them they go by operators and constants alone.
    Raises CalibrationError (no ranges, ranges of another graph, nothing to quantise), GraphError,
    StoreError.
    """
    if precision.needs_ranges:
        return _write_quantised(fp32, precision, out, _checked_ranges(fp32, precision, ranges), keep)
    if precision is Precision.INT4:
        return _write_int4(fp32, out, keep)
    if precision is Precision.FP32:
        _copy(fp32, out)
        return PrecisionReport(out, precision, (), ())
    model = _opened(fp32, precision)
    converted, kept = convert_to_half(model, HALF_FORMATS[precision], magnitudes)
    save_checked(model, out)
    return PrecisionReport(out, precision, converted, kept)


def write_int8(quantisable: Quantisable, out: Path, apart: Apart = NOTHING_APART) -> PrecisionReport:
    """Write a graph that was prepared for INT8 (calibration.prepare); as write_precision otherwise.

    It is at INT8_MIXED where anything is `apart`.
    """
    graph = quantisable.graph
    precision = Precision.INT8_MIXED if apart.layers else Precision.INT8
    _checked_ranges(graph, precision, quantisable.ranges)
    model = _opened(graph, apart.precision)
    plan = quantise(model, quantisable, apart.layers)
    report = narrow(model, apart) if apart.precision.is_half else ()
    written = _save_quantised(model, plan, precision, out, nothing_to_quantise(graph, model.graph))
    return replace(written, kept=_instead(written.kept, report))


def _instead(kept: Iterable[Kept], better: Iterable[Kept]) -> tuple[Kept, ...]:
    """`kept` with what is known better of a node."""
    known = {each.node: each for each in better}
    return tuple(known.get(each.node, each) for each in kept)


def _opened(fp32: Path, precision: Precision) -> ir.Model:
    """A float graph at an opset that has kernels of the precision."""
    model = open_float_graph(fp32)
    if precision is Precision.BF16 and model.graph.opset_imports[""] < LEAST_OPSET:
        return at_opset(model, LEAST_OPSET)
    return model


def _copy(fp32: Path, out: Path) -> None:
    """The same bytes, or one self-contained file where the weights lie in others."""
    model = load(fp32)
    if any(isinstance(v.const_value, ir.ExternalTensor) for v in model.graph.initializers.values()):
        save_checked(model, out)
        return
    with replacing_file(out) as temporary:
        shutil.copyfile(fp32, temporary)


def _checked_ranges(fp32: Path, precision: Precision, ranges: Ranges | None) -> Ranges:
    if ranges is None:
        raise CalibrationError(
            f"{precision} of {fp32} needs calibrated ranges, got none; calibrate the file first"
        )
    digest = graph_digest(fp32)
    if ranges.graph != digest:
        raise CalibrationError(
            f"the ranges belong to graph {ranges.graph[:12]}, but {fp32} is {digest[:12]}; calibrate it again"
        )
    return ranges


def _write_quantised(
    fp32: Path, precision: Precision, out: Path, ranges: Ranges, keep: Collection[str]
) -> PrecisionReport:
    if precision is not Precision.FP8:
        return write_int8(Quantisable(fp32, ranges), out, Apart(keep))
    model = open_float_graph(fp32)
    plan = insert_fp8(model, ranges, keep)
    return _save_quantised(model, plan, precision, out, nothing_for_fp8(fp32, model.graph))


def _save_quantised(
    model: ir.Model, plan: Plan, precision: Precision, out: Path, nothing: CalibrationError
) -> PrecisionReport:
    if not plan.readers:
        raise nothing
    save_checked(model, out)
    nodes = [reader.node for reader in plan.readers] + [look_up.node for look_up in plan.look_ups]
    return PrecisionReport(out, precision, tuple(str(node.name) for node in nodes), _kept(plan.skipped))


def _write_int4(fp32: Path, out: Path, keep: Collection[str]) -> PrecisionReport:
    model = open_float_graph(fp32)
    converted, skipped = store_weights(model, keep)
    if not converted:
        raise CalibrationError(
            f"{fp32} has no weights to store as int4: that needs a MatMul or Gemm by a constant float32"
            " matrix of 16 rows or more; use fp32, fp16, bf16 or int8"
        )
    save_checked(model, out)
    return PrecisionReport(out, Precision.INT4, tuple(converted), _kept(skipped))


def _kept(skipped: Iterable[tuple[str, str]]) -> tuple[Kept, ...]:
    return tuple(Kept(node, reason) for node, reason in skipped)
