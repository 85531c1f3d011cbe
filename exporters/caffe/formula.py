"""Arithmetic on ONNX values written as a formula: each operator appends a node, shapes and types follow.

Post-processing layers are dozens of small nodes; written as formulas they can be read beside Caffe's sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import prod
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import Attributes, LayerBuilder
from exporters.caffe.shapes import Dims, dims
from runtime.tensors import Array

FLOAT, INT64, BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL

Operand: TypeAlias = "Term | Array | float"
"""What stands on the other side of an operator; numbers and arrays become constants."""


class Term:
    """One value of the graph, with NumPy's operators, broadcasting and names."""

    def __init__(self, build: LayerBuilder, value: ir.Value) -> None:
        self.build = build
        self.value = value

    @property
    def shape(self) -> Dims:
        return dims(self.value)

    @property
    def dtype(self) -> ir.DataType:
        return self.value.dtype or FLOAT

    def __add__(self, other: Operand) -> Term:
        return self._with("Add", other)

    def __sub__(self, other: Operand) -> Term:
        return self._with("Sub", other)

    def __mul__(self, other: Operand) -> Term:
        return self._with("Mul", other)

    def __truediv__(self, other: Operand) -> Term:
        return self._with("Div", other)

    def __gt__(self, other: Operand) -> Term:
        return self._with("Greater", other, BOOL)

    def __ge__(self, other: Operand) -> Term:
        return self._with("GreaterOrEqual", other, BOOL)

    def __and__(self, other: Operand) -> Term:
        return self._with("And", other, BOOL)

    def divided_down(self, divisor: int) -> Term:
        """Whole-number division of whole numbers that are not negative."""
        return self._with("Div", divisor)

    def remainder(self, divisor: int) -> Term:
        return self._with("Mod", divisor)

    def minimum(self, other: Operand) -> Term:
        return self._with("Min", other)

    def maximum(self, other: Operand) -> Term:
        return self._with("Max", other)

    def apply(self, op_type: str) -> Term:
        """A node of one input that keeps shape and type: Exp, Floor, Ceil, Abs, Sign, Sqrt."""
        return self.make(op_type, [], self.shape)

    def cast(self, dtype: ir.DataType) -> Term:
        return self.make("Cast", [], self.shape, {"to": int(dtype)}, dtype)

    def where(self, yes: Operand, no: Operand) -> Term:
        """`yes` where this condition holds, `no` elsewhere; one of the two is a Term."""
        kind = next(operand.dtype for operand in (yes, no) if isinstance(operand, Term))
        chosen, other = self._operand(yes, kind), self._operand(no, kind)
        shape = broadcast(broadcast(self.shape, chosen.shape), other.shape)
        return self.make("Where", [chosen, other], shape, dtype=kind)

    def reshape(self, *shape: int | str) -> Term:
        """These dimensions; at most one is open, and is worked out."""
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        return self.make("Reshape", [self.constant("shape", np.array(sizes, np.int64))], shape)

    def transpose(self, *order: int) -> Term:
        return self.make("Transpose", [], tuple(self.shape[axis] for axis in order), {"perm": list(order)})

    def slice(self, axis: int, start: int, end: int) -> Term:
        """The part start:end of one axis, both counted from the front."""
        limits = [
            self.constant(role, np.array([number], np.int64))
            for role, number in (("start", start), ("end", end), ("axis", axis))
        ]
        return self.make("Slice", limits, (*self.shape[:axis], end - start, *self.shape[axis + 1 :]))

    def columns(self) -> list[Term]:
        """The parts of one of the last axis, in order."""
        last = len(self.shape) - 1
        (size,) = self.build.sizes(self.value, last)
        return [self.slice(last, index, index + 1) for index in range(size)]

    def gather(self, indices: Operand, axis: int = 0) -> Term:
        """`numpy.take(self, indices, axis)`."""
        chosen = self._operand(indices, INT64)
        shape = (*self.shape[:axis], *chosen.shape, *self.shape[axis + 1 :])
        return self.make("Gather", [chosen], shape, {"axis": axis})

    def gather_rows(self, indices: Term, batch_dims: int = 0) -> Term:
        """GatherND: the last axis of `indices` names one place in the axes behind the batch ones."""
        depth = indices.shape[-1]
        behind = self.shape[batch_dims + int(depth) :]
        return self.make("GatherND", [indices], (*indices.shape[:-1], *behind), {"batch_dims": batch_dims})

    def largest(self, count: int) -> tuple[Term, Term]:
        """The `count` largest along the last axis, falling, ties by index; values and places."""
        shape = (*self.shape[:-1], count)
        limit = self.constant("k", np.array([count], np.int64))
        values, places = self.build.nodes(
            "TopK", [self.value, limit.value], [shape, shape], {"axis": -1}, [self.dtype, INT64]
        )
        return Term(self.build, values), Term(self.build, places)

    def constant(self, role: str, array: Array) -> Term:
        return constant(self.build, role, array)

    def make(
        self,
        op_type: str,
        others: Sequence[Term],
        shape: Dims,
        attributes: Attributes | None = None,
        dtype: ir.DataType | None = None,
    ) -> Term:
        """Append a node that reads this value and `others`."""
        inputs = [self.value, *(other.value for other in others)]
        return Term(self.build, self.build.node(op_type, inputs, shape, attributes, dtype or self.dtype))

    def _with(self, op_type: str, other: Operand, dtype: ir.DataType | None = None) -> Term:
        operand = self._operand(other, self.dtype)
        return self.make(op_type, [operand], broadcast(self.shape, operand.shape), dtype=dtype)

    def _operand(self, other: Operand, dtype: ir.DataType) -> Term:
        if isinstance(other, Term):
            return other
        with np.errstate(over="ignore"):
            array = np.asarray(other, dtype.numpy())
        if dtype == FLOAT and not np.isfinite(array).all():
            raise self.build.error("has numbers that together are too large for float32")
        return self.constant("constant", array)


def constant(build: LayerBuilder, role: str, array: Array) -> Term:
    """A fixed array as an operand."""
    return Term(build, build.constant(role, array))


def concat(parts: Sequence[Term], axis: int) -> Term:
    """`numpy.concatenate`."""
    first = parts[0]
    joined = sum(int(part.shape[axis]) for part in parts)
    shape = list(first.shape)
    shape[axis] = joined
    return first.make("Concat", parts[1:], tuple(shape), {"axis": axis})


def broadcast(left: Dims, right: Dims) -> Dims:
    """The shape of an elementwise operation; an open dimension wins over 1 and is kept."""
    pairs = zip_longest(reversed(left), reversed(right), fillvalue=1)
    return tuple(b if a == 1 else a for a, b in pairs)[::-1]


def times(count: int, dimension: int | str) -> int | str:
    """`count` times a dimension that may be open."""
    if isinstance(dimension, int):
        return count * dimension
    return dimension if count == 1 else f"{count}*{dimension}"


def volume(shape: Dims) -> int:
    """How many values the fixed dimensions make together."""
    return prod(size for size in shape if isinstance(size, int))
