"""In which types the multiply-accumulates of a file are written: what it promises of whoever runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx_ir as ir

from runtime.costs import MULTIPLYING, decided_size, sized_macs
from runtime.sizing import with_sizes

_INTEGER = frozenset({"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"})
_INT8, _WIDEST = "int8", "float32"
_FP8 = frozenset({ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT8E5M2})


def written_types(model: ir.Model, dims: Mapping[str, int]) -> dict[str, float]:
    """NumPy's name of a type to its share of all multiply-accumulates; {} where there are none.

    An operator is INT8 or FP8 where both its operands come out of a DequantizeLinear, by what that reads;
    with one of them alone, as where weights are stored as INT4, its arithmetic is that of the other. One
    that repeats a graph of its own counts as what that graph multiplies in.

    dims: see runtime.costs.node_macs.
    """
    sized = with_sizes(model, dims)
    macs = sized_macs(sized.graph, decided_size(model, dims))
    total = sum(macs.values())
    shares: Counter[str] = Counter()
    for node in sized.graph:
        if macs.get(str(node.name)):
            shares[_type_of(node)] += macs[str(node.name)]
    return {name: count / total for name, count in shares.items()}


def _type_of(node: ir.Node) -> str:
    body = node.attributes.get("body")
    if body is not None:
        types = {_type_of(inner) for inner in body.as_graph() if inner.op_type in MULTIPLYING}
        return types.pop() if len(types) == 1 else _WIDEST
    operands = node.inputs[:2]
    stored = tuple(map(_stored_as, operands))
    if node.op_type in _INTEGER or all(stored):
        return next((dtype.numpy().name for dtype in stored if dtype in _FP8), _INT8)
    floats = (value.dtype for value in operands if value is not None and value.dtype is not None)
    return next((dtype.numpy().name for dtype in floats if dtype.is_floating_point()), _WIDEST)


def _stored_as(value: ir.Value | None) -> ir.DataType | None:
    """What a DequantizeLinear makes `value` from; None where none does."""
    producer = value.producer() if value is not None else None
    if producer is None or producer.op_type != "DequantizeLinear":
        return None
    stored = producer.inputs[0]
    return stored.dtype if stored is not None and stored.dtype is not None else ir.DataType.INT8
