"""Says a canonical INT8 graph in uint8, the form ONNX Runtime's CPU provider has integer kernels for.

The canonical graph quantises to int8 with zero point 0 after a ReLU. The CPU provider fuses Q/DQ into
integer kernels only if nothing stands between the operator and its Q, and is fast on uint8. Two exact
steps get there (DESIGN.md, INT8):

- int8 with zero point 0 is uint8 shifted by 128: clamp(round(x / s), -128, 127) + 128;
- rounding and clamping never change the order of two numbers, so clipping before quantising is
  clipping the quantised values: Q(Relu(x)) = Clip(Q(x), Q(0), 255).

With optimisations off, the result computes bit for bit what the canonical graph does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import onnx_ir as ir

from runtime.errors import UnsupportedError

LOWERING = "int8 as uint8 with zero point 128, ReLU as a clip of quantised values"

_PROTOBUF_LIMIT = 2**31 - 1
LARGEST_LOWERED = 2_000_000_000
"""Bytes of constants of a graph that surely fits into one protocol buffer."""

_SHIFT = 128
_LEAST, _GREATEST = 0, 255
_CLIPPING = frozenset({"Relu", "Clip"})


def lower(model: ir.Model) -> int:
    """Rewrite `model` in place; returns how many quantised tensors it found (0: nothing changed)."""
    graph = model.graph
    found = [node for node in graph if is_canonical(node)]
    if not found:
        return 0
    constants = _Constants(graph)
    for quantise in found:
        bounds = _take_clipping_out(quantise)
        _shift(quantise, constants)
        if bounds != (_LEAST, _GREATEST):
            _clip(graph, quantise, bounds, constants)
    return len(found)


def held_bytes(model: ir.Model) -> int:
    """Bytes of the constants of a model's graph, in its file or beside it."""
    constants = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in constants if tensor is not None)


def serialised(model: ir.Model) -> bytes:
    """A graph that was changed since it was loaded, with its external data, as runtimes take it.

    Raises UnsupportedError over 2 GB, the most that one protocol buffer holds.
    """
    size = held_bytes(model)
    if size <= _PROTOBUF_LIMIT:  # else protobuf, too, would give up, without saying how large it is
        ir.external_data.load_to_model(model)
        proto = ir.to_proto(model)
        size = proto.ByteSize()
    if size > _PROTOBUF_LIMIT:
        raise UnsupportedError(
            f"the graph has {size} bytes, and one that has to be lowered, or whose nodes are unnamed, may"
            " have 2 GB at most; use another backend"
        )
    content: bytes = proto.SerializeToString()
    return content


@dataclass
class _Constants:
    """uint8 scalars, each made once."""

    graph: ir.Graph

    def uint8(self, number: int) -> ir.Value:
        name = f"lowered_uint8_{number}"
        if name not in self.graph.initializers:
            tensor = ir.tensor(np.array(number, np.uint8), name=name)
            value = ir.Value(
                name=name, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.UINT8), const_value=tensor
            )
            self.graph.register_initializer(value)
        return self.graph.initializers[name]


def is_canonical(node: ir.Node) -> bool:
    """A per-tensor Q to int8 with zero point 0, read by DQs of the same kind only."""
    return (
        node.op_type == "QuantizeLinear"
        and "output_dtype" not in node.attributes  # would contradict the uint8 zero point
        and _is_int8_zero(node)
        and not node.outputs[0].is_graph_output()
        and all(
            use.node.op_type == "DequantizeLinear" and use.idx == 0 and _is_int8_zero(use.node)
            for use in node.outputs[0].uses()
        )
    )


def _is_int8_zero(node: ir.Node) -> bool:
    zero_point = node.inputs[2] if len(node.inputs) > 2 else None
    constant = zero_point.const_value if zero_point is not None else None
    return (
        constant is not None
        and constant.dtype == ir.DataType.INT8
        and not len(constant.shape)
        and not constant.numpy()
    )


def _take_clipping_out(quantise: ir.Node) -> tuple[int, int]:
    """Let the Q read what the ReLU or Clip before it read; returns its bounds as quantised values."""
    value = quantise.inputs[0]
    clipping = value.producer() if value is not None else None
    scale = constant_scalar(quantise.inputs[1])
    if clipping is None or clipping.op_type not in _CLIPPING or not _keeps_order(scale):
        return _LEAST, _GREATEST
    bounds = clip_bounds(clipping)
    if bounds is None or len(clipping.outputs[0].uses()) != 1 or clipping.outputs[0].is_graph_output():
        return _LEAST, _GREATEST
    quantise.replace_input_with(0, clipping.inputs[0])
    if clipping.graph is not None:
        clipping.graph.remove(clipping, safe=True)
    return _quantised(bounds[0], scale), _quantised(bounds[1], scale)


def clip_bounds(clipping: ir.Node) -> tuple[np.float32, np.float32] | None:
    """Where a ReLU or Clip ends below and above; None where that is no constant."""
    if clipping.op_type == "Relu":
        return np.float32(0), np.float32(np.inf)
    bounds = [np.float32(-np.inf), np.float32(np.inf)]
    for index, value in enumerate(clipping.inputs[1:3]):
        if value is None:
            continue
        constant = constant_scalar(value)
        if constant is None or np.isnan(constant):
            return None
        bounds[index] = constant
    return bounds[0], bounds[1]


def _quantised(bound: np.float32, scale: np.float32) -> int:
    """As QuantizeLinear computes it: divide in float32, round half to even, shift, saturate."""
    with np.errstate(over="ignore"):  # a bound of many steps is infinite, and saturates like one
        return int(np.clip(np.rint(bound / scale) + _SHIFT, _LEAST, _GREATEST))


def _keeps_order(scale: np.float32 | None) -> TypeGuard[np.float32]:
    """Dividing by it keeps the order of numbers, without which clipping and rounding do not commute."""
    return scale is not None and bool(0 < scale < np.inf)


def _shift(quantise: ir.Node, constants: _Constants) -> None:
    zero_point = constants.uint8(_SHIFT)
    quantise.replace_input_with(2, zero_point)
    quantise.outputs[0].dtype = ir.DataType.UINT8
    for use in quantise.outputs[0].uses():
        use.node.replace_input_with(2, zero_point)


def _clip(graph: ir.Graph, quantise: ir.Node, bounds: tuple[int, int], constants: _Constants) -> None:
    quantised = quantise.outputs[0]
    uses = quantised.uses()
    clip = ir.node(
        "Clip",
        [quantised, *(constants.uint8(bound) for bound in bounds)],
        name=f"{quantise.name}_clip",
    )
    clip.outputs[0].name = f"{quantised.name}_clipped"
    clip.outputs[0].dtype, clip.outputs[0].shape = ir.DataType.UINT8, quantised.shape
    graph.insert_after(quantise, clip)
    for use in uses:
        use.node.replace_input_with(use.idx, clip.outputs[0])


def constant_scalar(value: ir.Value | None) -> np.float32 | None:
    """A float32 scalar, if the value is one."""
    tensor = value.const_value if value is not None else None
    if tensor is None or tensor.size != 1 or tensor.dtype != ir.DataType.FLOAT:
        return None
    return np.float32(tensor.numpy().reshape(()))
