"""Writes the INT4 graph: weights of matrix products as 4-bit integers, everything else as in FP32.

    x ---------------------------.
                                  MatMul (Gemm) -> ...
    int4 w -> DQ(scale a block) -'

Weights are 8 times smaller, which is what a matrix product of few rows waits for; the arithmetic is float.
The form that ONNX Runtime makes a MatMulNBits of, OpenVINO a product that decompresses as it goes, and
TensorRT takes: symmetric, no zero points, blocks along the axis that is summed over. Convolutions stay in
float: TensorRT takes no blocks there, ONNX Runtime would restore the weights in every query, and OpenVINO
restores them when it compiles. So do embedding tables, of which a look-up reads a few rows, also where it is
said as a product by one-hot rows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir

from calibration.graphs import Names, add_initializer, add_node, drop_unread
from calibration.int8_plan import KEPT
from runtime.costs import MULTIPLYING
from runtime.tensors import Array

LEAST, GREATEST = -8, 7

BLOCKS = (32, 16)
"""Rows that share a scale, the first that divides the rows (OpenVINO takes no other), or else all of them.

With its float32 scale a weight takes 5 bits in blocks of 32. Normal weights are 21.3 dB from float32 there,
in blocks of 128 rows 19.9 dB; those of a heavy tail (Student's t, 4 degrees of freedom) 18.6 and 15.6 dB.
"""

_CLIP_RATIOS = np.linspace(1.0, 0.6, 9)
"""Shares of a block's range that are tried: normal weights are 0.3 dB closer for it in blocks of 32 than
without clipping, 1.7 dB in columns of 768; finer steps and smaller shares give 0.04 dB more. All of -8..7,
and the scale that fits, are worth 0.7 dB beside -7..7 of the greatest magnitude."""

_PART = 1 << 22
"""Weights that are searched at a time."""

_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Stored:
    """A weight [rows, columns] as int4 values of the same shape, and scales [blocks, columns]."""

    values: Array
    scales: Array
    block: int

    @property
    def restored(self) -> Array:
        """What DequantizeLinear makes of it."""
        restored: Array = self.values.astype(np.float32) * np.repeat(self.scales, self.block, axis=0)
        return restored


def block_of(rows: int) -> int:
    return next((block for block in BLOCKS if rows % block == 0), rows)


def store(weight: Array, block: int) -> Stored:
    """`weight` [rows, columns] with the scales, one a block and column, of least squared error.

    Of several clip ratios the best is taken, with the scale that fits its rounded values best: for values q
    that is <w, q> / <q, q>, and leaves <w, w> - <w, q>^2 / <q, q> (least squares). Never worse than without
    clipping.
    """
    rows, columns = weight.shape
    blocks = weight.reshape(rows // block, block, columns)
    values = np.empty(blocks.shape, np.int8)
    scales = np.empty((len(blocks), columns), np.float32)
    step = max(1, _PART // (block * columns))
    for start in range(0, len(blocks), step):
        part = slice(start, start + step)
        scales[part] = _best_scales(blocks[part])
        values[part] = _rounded(blocks[part], scales[part])
    return Stored(values.reshape(weight.shape), scales, block)


def store_weights(model: ir.Model, keep: Collection[str] = ()) -> tuple[list[str], list[tuple[str, str]]]:
    """Store the weights of `model` in place, but for the nodes named in `keep`.

    Returns the names of the nodes that read int4 now, and (node, reason) for each other that multiplies.
    """
    graph = model.graph
    names = Names(graph)
    restored: dict[tuple[ir.Value, bool], ir.Value] = {}
    converted: list[str] = []
    skipped: list[tuple[str, str]] = []
    for node in tuple(graph):
        reason = KEPT if node.name in keep else _reason_against(node)
        if reason is None:
            _store_weight(graph, node, names, restored)
            converted.append(str(node.name))
        elif node.op_type in MULTIPLYING:
            skipped.append((str(node.name), reason))
    return converted, skipped


def _reason_against(node: ir.Node) -> str | None:
    if node.op_type not in ("MatMul", "Gemm") or node.domain:
        return "no runtime multiplies by int4 weights there"
    weight = node.inputs[1]
    constant = weight.const_value if weight is not None else None
    if weight is None or constant is None or weight.is_graph_output():
        return "it multiplies by no constant"
    if constant.dtype != ir.DataType.FLOAT or len(constant.shape) != 2:
        return "its weights are no float32 matrix"
    maker = node.inputs[0].producer() if node.inputs[0] is not None else None
    if maker is not None and maker.op_type == "OneHot":
        return "it looks up rows of a table"
    if constant.size % 2:
        return "of an odd number of weights TensorRT fills no whole bytes"
    rows = constant.shape.numpy()[1 if _is_transposed(node) else 0]
    return f"of fewer than {BLOCKS[-1]} rows int4 saves nothing" if rows < BLOCKS[-1] else None


def _is_transposed(node: ir.Node) -> bool:
    return bool(node.op_type == "Gemm" and node.attributes.get_int("transB", 0))


def _store_weight(
    graph: ir.Graph, node: ir.Node, names: Names, restored: dict[tuple[ir.Value, bool], ir.Value]
) -> None:
    """NOTE: ONNX Runtime 1.32 fuses no Gemm whose weights are transposed: they are stored the other way."""
    weight, transposed = node.inputs[1], _is_transposed(node)
    if weight is None or weight.const_value is None:
        raise ValueError(f"{node.name} has no constant weight")
    if (weight, transposed) not in restored:
        array = weight.const_value.numpy()
        matrix = np.ascontiguousarray(array.T) if transposed else array
        restored[weight, transposed] = _restored(graph, weight, store(matrix, block_of(len(matrix))), names)
    node.replace_input_with(1, restored[weight, transposed])
    node.attributes.pop("transB", None)
    drop_unread(graph, weight)


def _restored(graph: ir.Graph, weight: ir.Value, stored: Stored, names: Names) -> ir.Value:
    """The result of a DequantizeLinear: one scale a block, or one a column where there is one block."""
    by_block = len(stored.scales) > 1
    attributes = {"axis": 0, "block_size": stored.block} if by_block else {"axis": 1}
    scales = stored.scales if by_block else stored.scales[0]
    node = ir.node(
        "DequantizeLinear",
        [
            add_initializer(
                graph,
                ir.tensor(stored.values.astype(ml_dtypes.int4), name=names.new(f"{weight.name}_quantized")),
            ),
            add_initializer(graph, ir.tensor(scales, name=names.new(f"{weight.name}_scale"))),
        ],
        attributes,
        name=names.new(f"{weight.name}_DequantizeLinear"),
    )
    node.outputs[0].name = names.new(f"{weight.name}_dequantized")
    add_node(graph, node, after=weight)
    return node.outputs[0]


def _best_scales(blocks: Array) -> Array:
    """Scales [blocks, columns] of blocks [blocks, rows, columns]."""
    whole = np.maximum(blocks.max(axis=1) / GREATEST, blocks.min(axis=1) / LEAST)
    whole = np.where(whole < _SMALLEST, np.float32(1), whole)
    best, most = whole, np.full(whole.shape, -np.inf, np.float32)
    for ratio in _CLIP_RATIOS:
        steps = _rounded(blocks, whole * np.float32(ratio)).astype(np.float32)
        product = np.einsum("brc,brc->bc", blocks, steps)
        square = np.maximum(np.einsum("brc,brc->bc", steps, steps), 1)
        explained = product * product / square  # of the block's squares
        better = explained > most
        best = np.where(better & (product > 0), product / square, best)
        most = np.where(better, explained, most)
    return np.maximum(best, _SMALLEST).astype(np.float32)


def _rounded(blocks: Array, scales: Array) -> Array:
    steps = blocks / scales[:, np.newaxis, :]
    np.rint(steps, out=steps)
    return np.clip(steps, LEAST, GREATEST, out=steps).astype(np.int8)
