"""Says a look-up in an int8 table the other way round for ONNX Runtime.

The canonical graph restores the table, a row a scale, and looks up the rows that are wanted: the form in
which TensorRT takes it. ONNX Runtime would restore all of the table at every run. Restoring is element by
element, so that looking up first and restoring only those rows gives the same bits.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

LOOKED_UP_FIRST = "rows of int8 tables restored after they are looked up"


def look_up_first(graph: ir.Graph) -> int:
    """Rewrite `graph` in place; returns how many look-ups it changed.

    They are a Gather on axis 0 of what a DequantizeLinear makes of constants with zero point 0, the scale
    being one or one a row.
    """
    found = [node for node in graph if node.op_type == "Gather" and _is_of_int8_rows(node)]
    for gather in found:
        _swap(graph, gather)
    graph.sort()
    return len(found)


def _is_of_int8_rows(gather: ir.Node) -> bool:
    table = gather.inputs[0]
    restore = table.producer() if table is not None else None
    if restore is None or restore.op_type != "DequantizeLinear" or gather.attributes.get_int("axis", 0) != 0:
        return False
    stored, scale = (_constant(value) for value in restore.inputs[:2])
    zero = _constant(restore.inputs[2]) if len(restore.inputs) > 2 else None
    symmetric = len(restore.inputs) < 3 or (zero is not None and not zero.numpy().any())
    by_row = scale is not None and len(scale.shape) == 1 and restore.attributes.get_int("axis", 1) == 0
    return (
        stored is not None
        and stored.dtype == ir.DataType.INT8
        and scale is not None
        and scale.dtype == ir.DataType.FLOAT
        and symmetric
        and restore.attributes.get_int("block_size", 0) == 0
        and (not len(scale.shape) or by_row)
    )


def _swap(graph: ir.Graph, gather: ir.Node) -> None:
    """Gather(DQ(table, scales), places) as Cast(Gather(table, places)) * Gather(scales, places)."""
    table, places = gather.inputs[0], gather.inputs[1]
    restore = table.producer() if table is not None else None
    if restore is None or table is None:
        raise ValueError(f"{gather.name} looks nothing up")
    stored, scales = restore.inputs[0], restore.inputs[1]
    rows = _node(gather, "Gather", [stored, places], "rows", {"axis": 0})
    values = _node(gather, "Cast", [rows], "values", {"to": ir.DataType.FLOAT})
    if scales is not None and scales.shape is not None and len(scales.shape):
        scales = _node(gather, "Gather", [_column(graph, restore), places], "scales", {"axis": 0})
    scaled = _node(gather, "Mul", [values, scales], "restored", {})
    ir.convenience.replace_all_uses_with(gather.outputs[0], scaled, replace_graph_outputs=True)
    scaled.name, scaled.dtype, scaled.shape = (
        gather.outputs[0].name,
        ir.DataType.FLOAT,
        gather.outputs[0].shape,
    )
    graph.remove(gather, safe=True)
    if not table.uses() and not table.is_graph_output():
        graph.remove(restore, safe=True)


def _column(graph: ir.Graph, restore: ir.Node) -> ir.Value:
    """The scales as [rows, 1, ...], so that looked up they stand beside the rows' values."""
    stored, scales = (_constant(value) for value in restore.inputs[:2])
    if stored is None or scales is None:
        raise ValueError(f"{restore.name} restores no constant")
    name = f"{restore.outputs[0].name}_scales_of_rows"
    if name not in graph.initializers:
        array = scales.numpy().reshape(-1, *(1 for _ in stored.shape[1:]))
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.FLOAT),
            const_value=ir.tensor(np.ascontiguousarray(array), name=name),
        )
        graph.register_initializer(value)
    return graph.initializers[name]


def _node(
    gather: ir.Node, op_type: str, inputs: list[ir.Value | None], suffix: str, attributes: dict[str, int]
) -> ir.Value:
    node = ir.node(op_type, inputs, attributes, name=f"{gather.name}_{suffix}")
    node.outputs[0].name = f"{gather.outputs[0].name}_{suffix}"
    if gather.graph is None:
        raise ValueError(f"{gather.name} is in no graph")
    gather.graph.insert_before(gather, node)
    return node.outputs[0]


def _constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    return value.const_value if value is not None else None
