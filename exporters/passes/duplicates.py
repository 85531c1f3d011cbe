"""Small constants that say the same."""

from __future__ import annotations

import onnx_ir as ir


def merge_duplicates(model: ir.Model) -> None:
    """Keep one initializer per value among scalars and whole numbers (shapes, axes, indices).

    Learned arrays are left alone: biases that are all zero by chance are still two biases, and
    merging them would change the number of parameters and tie ranges that are found apart.
    """
    first: dict[tuple[ir.DataType, tuple[int, ...], bytes], ir.Value] = {}
    for value in tuple(model.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or value.is_graph_output() or value.is_graph_input() or value.name is None:
            continue
        if tensor.dtype.is_floating_point() and tensor.size > 1:
            continue
        key = (tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes())
        kept = first.setdefault(key, value)
        if kept is not value:
            value.replace_all_uses_with(kept)
            del model.graph.initializers[value.name]
