"""Brings a model to a newer version of the ONNX operator set."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from runtime.errors import GraphError

_ONNXSCRIPT_FROM = 18
"""onnxscript's converter works on onnx_ir without copying weights, but starts at opset 18."""

_OLDER_KERNELS = {"RoiAlign": 21}
"""Operators that a newer opset changes and ONNX Runtime 1.32 does not know in: the last one that it does.

All that opset 22 brings RoiAlign is bfloat16.
"""


def readable_opset(model: ir.Model, opset: int) -> int:
    """`opset`, or the newest before it that ONNX Runtime has all of the model's operators in."""
    older = (_OLDER_KERNELS.get(node.op_type, opset) for node in model.graph.all_nodes() if not node.domain)
    return min((opset, *older))


def at_opset(model: ir.Model, opset: int) -> ir.Model:
    """`model` with its standard-domain operators raised to `opset`; itself where it is already there.

    Raises GraphError, naming the operator, where a step cannot be made or `opset` is older.
    """
    found = model.graph.opset_imports.get("", 0)
    if found == opset:
        return model
    if found > opset:
        raise GraphError(
            f"the graph is at opset {found}, newer than the opset {opset} wanted; use the older export"
        )
    try:
        if found < _ONNXSCRIPT_FROM:
            model = _by_onnx(model, min(opset, _ONNXSCRIPT_FROM))
        if opset > _ONNXSCRIPT_FROM:
            _by_onnxscript(model, opset)
    except _CannotStepError as error:
        raise GraphError(
            f"cannot raise the graph from opset {found} to {opset}: {error}; export it at opset {opset}"
        ) from error
    return model


class _CannotStepError(Exception):
    """A converter gave up; says where."""


def _by_onnx(model: ir.Model, opset: int) -> ir.Model:
    ir.external_data.load_to_model(model)  # the way through protobuf forgets which folder it is in
    try:
        return ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), opset))
    except RuntimeError as error:
        told = " ".join(str(error).split()).rpartition("failed: ")[2]  # before it: a place in onnx's source
        raise _CannotStepError(told[:300]) from error


def _by_onnxscript(model: ir.Model, opset: int) -> None:
    from onnxscript import version_converter

    version_converter.convert_version(model, opset, fallback=False)
    reached = model.graph.opset_imports.get("", 0)
    if reached != opset:
        raise _CannotStepError(f"stopped at opset {reached}")
