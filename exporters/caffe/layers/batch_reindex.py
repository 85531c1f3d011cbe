"""BatchReindex: samples of a batch in another order, left out or repeated."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import INT64, Term
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The samples of the first bottom that the second one, [count], names."""
    x, order = bottoms
    if len(dims(order)) != 1:
        raise build.error(f"bottom 1 is a list of samples' places, got {list(dims(order))}")
    return [Term(build, x).gather(Term(build, order).cast(INT64)).value]
