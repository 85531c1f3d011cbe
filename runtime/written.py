"""In which types the multiply-accumulates of a file are written: what it promises of whoever runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx_ir as ir

from runtime.costs import MULTIPLYING, decided_size, sized_macs
from runtime.sizing import with_sizes

_INTEGER = frozenset({"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"})
_INT8, _WIDEST = "int8", "float32"


def written_types(model: ir.Model, dims: Mapping[str, int]) -> dict[str, float]:
    """NumPy's name of a type to its share of all multiply-accumulates; {} where there are none.

    An operator is INT8 where both its operands come out of a DequantizeLinear. One that repeats a graph of
    its own counts as what that graph multiplies in.

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
    if node.op_type in _INTEGER or all(map(_is_restored, operands)):
        return _INT8
    floats = (value.dtype for value in operands if value is not None and value.dtype is not None)
    return next((dtype.numpy().name for dtype in floats if dtype.is_floating_point()), _WIDEST)


def _is_restored(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    return producer is not None and producer.op_type == "DequantizeLinear"
