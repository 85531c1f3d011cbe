"""Writes the FP16 and BF16 graphs: every float32 value becomes 16 bits wide, unless that would break it.

Inputs and outputs keep their names and types, with the casts inside. What stays in float32, with casts
around it:
- what ONNX's type constraints forbid in the format (NonMaxSuppression, Resize's scales, ...);
- operators whose intermediate values leave FP16's range although their results do not (STAYS_FLOAT);
- nodes with a lone constant that the format cannot hold, such as a LayerNorm's epsilon of 1e-12;
- products and quotients of what such a node made, which may fit the format only after them;
- what works out positions, such as a detector's boxes (positions);
- where magnitudes were observed (half_ranges): what makes or reads values near or beyond the format's
  greatest, as attention masks of -2**32 + 1, or values so small that FP16 has no digits for them.
LayerNormalization itself converts: its `stash_type` makes statistics and epsilon float32 inside.
Constants beyond the greatest finite value that are read in 16 bits are clamped to it, so that an attention
mask of -1e9 does not become minus infinity (and a fully masked row NaN).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from calibration.graphs import Names, add_initializer, add_node, drop_unread
from calibration.half_ranges import HEADROOM, Magnitudes, magnitudes_of
from calibration.kept import Kept
from calibration.positions import REASON, position_nodes
from calibration.precision import Precision
from runtime.costs import MULTIPLYING
from runtime.tensors import Array


@dataclass(frozen=True)
class HalfFormat:
    """A 16-bit float: ONNX's type, and its name in ONNX's type constraints."""

    data_type: ir.DataType
    name: str

    @property
    def greatest(self) -> float:
        """The greatest finite value."""
        return float(ml_dtypes.finfo(self.data_type.numpy()).max)  # type: ignore[no-untyped-call]

    def rounded(self, array: Array) -> Array:
        """`array` in this format: nearest even, finite values stay finite."""
        finite = np.clip(array, -self.greatest, self.greatest)
        return np.where(np.isfinite(array), finite, array).astype(self.data_type.numpy())

    def reason_against(self, seen: Magnitudes) -> str | None:
        """Why a tensor in which that was seen is not for this format; None if it is."""
        if seen.amax * HEADROOM > self.greatest:
            return f"values there come near the end of {self.name} or lie beyond"
        # bfloat16 has all of float32's range
        if self.data_type is ir.DataType.FLOAT16 and seen.lost > _LOST**2:
            return f"values there are too small for {self.name}"
        return None


HALF_FORMATS: Mapping[Precision, HalfFormat] = {
    Precision.FP16: HalfFormat(ir.DataType.FLOAT16, "float16"),
    Precision.BF16: HalfFormat(ir.DataType.BFLOAT16, "bfloat16"),
}

_LARGE_SUM = "its sums and squares need the range and the digits of float32"
_STEEP = "near 0 or at large arguments its values need the range of float32"
_RECURRENT = "ONNX Runtime's recurrent kernels crash on 16-bit floats"
STAYS_FLOAT: Mapping[str, str] = {
    "CumSum": _LARGE_SUM,
    "Exp": _STEEP,
    "GRU": _RECURRENT,
    "InstanceNormalization": _LARGE_SUM,
    "LRN": _LARGE_SUM,
    "LSTM": _RECURRENT,
    "Log": _STEEP,
    "LpNormalization": _LARGE_SUM,
    "Pow": _LARGE_SUM,
    "RNN": _RECURRENT,
    "Reciprocal": _STEEP,
    "ReduceL1": _LARGE_SUM,
    "ReduceL2": _LARGE_SUM,
    "ReduceLogSumExp": _LARGE_SUM,
    "ReduceMean": _LARGE_SUM,
    "ReduceProd": _LARGE_SUM,
    "ReduceSum": _LARGE_SUM,
    "ReduceSumSquare": _LARGE_SUM,
    "RoiAlign": "ONNX wants its regions, which are positions, in the type of its features",
    "Sqrt": _STEEP,
}
"""Operator type to why it computes in float32 in every file."""

_LOST = 2.0**-8
"""Relative error from which a lone constant counts as lost: twice BF16's own rounding error, which
normal numbers never reach; FP16 does below 3e-6, where it runs out of digits. Of a tensor, its square is the
share of the energy."""

_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")
"""Attributes that name the type of a node's result."""


def convert_to_half(
    model: ir.Model,
    half: HalfFormat,
    magnitudes: Mapping[str, Magnitudes] | None = None,
    only: Collection[ir.Node] | None = None,
) -> tuple[tuple[str, ...], tuple[Kept, ...]]:
    """Convert `model` in place; returns the converted nodes, and those left in float32.

    magnitudes: of its tensors, by name; without them only the rules that need none decide.
    only: nodes that may be converted; all unless given. Others are in neither result.
    """
    seen = magnitudes or {}
    converter = _Converter(model.graph, half, seen)
    converted: list[str] = []
    kept: list[Kept] = []
    for node in tuple(model.graph):
        if only is not None and node not in only:
            converter.widen(node)
            continue
        reason, decisive = converter.reason_against(node)
        if reason is None:
            converter.narrow(node)
            converted.append(str(node.name))
            continue
        converter.widen(node)
        if any(map(_is_float32, (*node.inputs, *node.outputs))):
            kept.append(_kept(node, reason, decisive, seen))
    converter.restore_outputs()
    for value in tuple(model.graph.initializers.values()):
        drop_unread(model.graph, value)
    return tuple(converted), tuple(kept)


def _kept(node: ir.Node, reason: str, decisive: ir.Value | None, seen: Mapping[str, Magnitudes]) -> Kept:
    tensor = str((decisive or node.outputs[0]).name)
    if tensor not in seen:
        return Kept(str(node.name), reason)
    return Kept(str(node.name), reason, tensor, seen[tensor].minimum, seen[tensor].maximum)


class _Converter:
    """Walks a graph in order, so that a value's own type is settled before its readers ask for it."""

    def __init__(self, graph: ir.Graph, half: HalfFormat, seen: Mapping[str, Magnitudes]) -> None:
        self._graph = graph
        self._half = half
        self._seen = seen
        self._names = Names(graph)
        self._positions = position_nodes(graph)
        self._versions: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def reason_against(self, node: ir.Node) -> tuple[str | None, ir.Value | None]:
        """Why `node` stays as it is, and the tensor that decides it; None if it can work in 16 bits."""
        if node in self._positions:
            return REASON, None
        reason = _reason_of_kind(node) or self._reason_of_values(node)
        return (reason, None) if reason is not None else self._reason_of_range(node)

    def _reason_of_range(self, node: ir.Node) -> tuple[str | None, ir.Value | None]:
        """NOTE: what is read counts as well as what is made: as 16 bits it would be infinite or 0 there."""
        for value in (*node.outputs, *node.inputs):
            seen = self._seen.get(str(value.name)) if value is not None else None
            reason = self._half.reason_against(seen) if seen is not None else None
            if reason is not None:
                return reason, value
        return None, None

    def _reason_of_values(self, node: ir.Node) -> str | None:
        if node.op_type != "Cast" and not any(map(self._is_floating, node.inputs)):
            return "it makes float32 out of other types"
        if not any(self._may_narrow(node)):
            return f"ONNX does not allow {self._half.name} here"
        if any(map(self._is_lost, node.inputs)) or self._loses_weights(node):
            return f"it has a constant that {self._half.name} cannot hold"
        if node.op_type in ("Mul", "Div") and any(map(self._was_kept, node.inputs)):
            return "it scales what stays in float32"
        if node.op_type in ("Mul", "Div") and _scales_an_input(node):
            return "it scales an input, which may be beyond the format before"
        return None

    def narrow(self, node: ir.Node) -> None:
        """Make `node` work in 16 bits, wherever its schema allows them."""
        allowed = self._may_narrow(node)
        for index, value in enumerate(node.inputs):
            wanted = self._half.data_type if next(allowed) else ir.DataType.FLOAT
            if value is not None and self._is_floating(value):
                node.replace_input_with(index, self._as(value, wanted))
        for value in node.outputs:
            if next(allowed) and _is_float32(value):
                value.type = ir.TensorType(self._half.data_type)
        for name in _TYPE_ATTRIBUTES:
            if node.attributes.get_int(name, ir.DataType.UNDEFINED) == ir.DataType.FLOAT:
                node.attributes[name] = ir.AttrInt64(name, self._half.data_type)

    def widen(self, node: ir.Node) -> None:
        """Give `node`, and whatever graphs it holds, their values in float32."""
        for user, index, value in _outer_inputs(node):
            if self._is_floating(value):
                user.replace_input_with(index, self._as(value, ir.DataType.FLOAT))

    def restore_outputs(self) -> None:
        """Give the graph's outputs their type back, under their own names."""
        for position, value in enumerate(self._graph.outputs):
            if value.dtype == self._half.data_type:
                restored = self._as(value, ir.DataType.FLOAT)
                name = str(value.name)
                value.name = self._names.new(f"{name}_{self._half.name}")
                restored.name = name
                self._graph.outputs[position] = restored

    def _may_narrow(self, node: ir.Node) -> Iterator[bool]:
        """For each input, then each output: does the operator's schema allow the format there?"""
        schema = onnx.defs.get_schema(node.op_type, self._graph.opset_imports[node.domain], node.domain)
        for values, formals in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
            for index in range(len(values)):
                formal = formals[min(index, len(formals) - 1)]  # the last one may be variadic
                yield f"tensor({self._half.name})" in formal.types

    def _is_floating(self, value: ir.Value | None) -> bool:
        """float32, or what was float32 until now."""
        return value is not None and (_is_float32(value) or value.dtype == self._half.data_type)

    def _is_lost(self, value: ir.Value | None) -> bool:
        if value is None or value.const_value is None or not _is_float32(value):
            return False
        if value.const_value.size != 1:
            return False
        exact = value.const_value.numpy().reshape(())
        if not np.abs(exact) <= self._half.greatest:
            return False  # it is clamped
        return bool(np.abs(self._half.rounded(exact).astype(np.float32) - exact) > _LOST * np.abs(exact))

    def _loses_weights(self, node: ir.Node) -> bool:
        weight = node.inputs[1] if node.op_type in MULTIPLYING and len(node.inputs) > 1 else None
        if weight is None or weight.const_value is None or not _is_float32(weight):
            return False
        seen = magnitudes_of(weight.const_value.numpy())
        return self._half.data_type is ir.DataType.FLOAT16 and seen.lost > _LOST**2

    def _was_kept(self, value: ir.Value | None) -> bool:
        """Made in float32 by a node that this walk has left alone."""
        return value is not None and value.producer() is not None and _is_float32(value)

    def _as(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        """`value` in the type `wanted`: itself, a converted constant, or the result of one shared Cast."""
        if value.dtype == wanted:
            return value
        if (value, wanted) not in self._versions:
            make = self._cast if value.const_value is None else self._converted_constant
            self._versions[value, wanted] = make(value, wanted)
        return self._versions[value, wanted]

    def _converted_constant(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        if value.const_value is None:
            raise ValueError(f"{value.name} is not a constant")
        name = self._names.new(f"{value.name}_{self._half.name}")
        rounded = self._half.rounded(value.const_value.numpy())
        return add_initializer(self._graph, ir.tensor(rounded, dtype=wanted, name=name))

    def _cast(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        suffix = wanted.name.lower()
        node = ir.node("Cast", [value], {"to": wanted}, name=self._names.new(f"{value.name}_to_{suffix}"))
        result = node.outputs[0]
        result.name = self._names.new(f"{value.name}_{suffix}")
        result.type, result.shape = ir.TensorType(wanted), value.shape
        add_node(self._graph, node, after=value)
        return result


def _scales_an_input(node: ir.Node) -> bool:
    """Whether it multiplies an input of the graph with a constant, as what is raw and unscaled needs."""
    return any(value is not None and value.is_graph_input() for value in node.inputs) and any(
        value is not None and value.const_value is not None for value in node.inputs
    )


def _reason_of_kind(node: ir.Node) -> str | None:
    if any(_graphs(attribute) for attribute in node.attributes.values()):
        return "it holds a graph of its own, which is left as it is"
    is_square = node.op_type == "Mul" and node.inputs[0] is node.inputs[1]
    adds_up = node.attributes.get_string("reduction", "none") != "none"  # ScatterElements and ScatterND
    return _LARGE_SUM if is_square or adds_up else STAYS_FLOAT.get(node.op_type)


def _outer_inputs(node: ir.Node) -> Iterator[tuple[ir.Node, int, ir.Value]]:
    """Inputs of `node` and of the nodes in the graphs it holds, as far as they come from its own graph."""
    inner = (n for a in node.attributes.values() for graph in _graphs(a) for n in graph.all_nodes())
    for user in (node, *inner):
        for index, value in enumerate(user.inputs):
            if value is not None and value.graph is node.graph:
                yield user, index, value


def _graphs(attribute: ir.Attr) -> tuple[ir.Graph, ...]:
    if attribute.type is ir.AttributeType.GRAPH:
        return (attribute.as_graph(),)
    return tuple(attribute.as_graphs()) if attribute.type is ir.AttributeType.GRAPHS else ()


def _is_float32(value: ir.Value | None) -> bool:
    """A float32 tensor; not a sequence or an optional of them."""
    return value is not None and value.type == ir.TensorType(ir.DataType.FLOAT)
