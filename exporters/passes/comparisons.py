"""Whole numbers compared as whole numbers.

tf2onnx compares them as float32. Then a graph in 16-bit floats would compare them in 16 bits, in which
FP16 tells no odd numbers above 2048, and ONNX Runtime's CPU provider has no comparison of BF16.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from exporters.passes.graph import constant, make_node, produced_by, set_constant

_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_WHOLE = frozenset({ir.DataType.INT32, ir.DataType.INT64})

_EXACT = 2**24
"""Below it, float32 has all whole numbers."""


def compare_whole_numbers(model: ir.Model) -> None:
    """Let a comparison of whole numbers that were cast to floats read them as int64, and constants too."""
    for node in tuple(model.graph.all_nodes()):
        if node.op_type in _COMPARISONS and all(map(_is_whole, node.inputs)):
            for index, value in enumerate(node.inputs):
                _read_whole(node, index, value)


def _is_whole(value: ir.Value | None) -> bool:
    array = constant(value)
    if array is None:
        return _whole_source(value) is not None
    exact = array.dtype == np.float32 and (np.abs(array) < _EXACT) & (array == np.rint(array))
    return bool(np.all(exact))


def _whole_source(value: ir.Value | None) -> ir.Value | None:
    """The whole numbers that were cast to the floats of `value`, or None."""
    cast = produced_by(value, "Cast")
    source = cast.inputs[0] if cast is not None else None
    is_float = value is not None and value.dtype == ir.DataType.FLOAT
    return source if is_float and source is not None and source.dtype in _WHOLE else None


def _read_whole(node: ir.Node, index: int, value: ir.Value | None) -> None:
    array = constant(value)
    if array is not None:
        set_constant(node, index, f"whole_{index}", array.astype(np.int64))
        return
    source = _whole_source(value)
    if source is not None and source.dtype != ir.DataType.INT64:
        wide = make_node(node, "Cast", [source], {"to": ir.DataType.INT64}, f"{node.name}/whole_{index}")
        source = wide.outputs[0]
        source.dtype = ir.DataType.INT64
    node.replace_input_with(index, source)
