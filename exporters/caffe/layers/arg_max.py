"""ArgMax: where the largest values of a blob lie, or what they are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import FLOAT, Term, concat
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The `top_k` largest along `axis`, falling; without it of a whole sample, [batch, 1 or 2, top_k]."""
    parameter = build.parameter.argmax_param
    if parameter.HasField("axis"):
        axis = build.axis(bottoms[0], parameter.axis)
        order = [i for i in range(len(dims(bottoms[0]))) if i != axis] + [axis]
        values, places = _largest(build, Term(build, bottoms[0]).transpose(*order))
        chosen = values if parameter.out_max_val else places
        return [chosen.transpose(*np.argsort(order).tolist()).value]
    batch, *sizes = dims(bottoms[0])
    count = prod(build.sizes(bottoms[0], 1))
    values, places = _largest(build, Term(build, bottoms[0]).reshape(batch, 1, count))
    made = concat([places, values], axis=1) if parameter.out_max_val else places
    behind = [1] * (len(sizes) - 2)
    return [made.reshape(*made.shape, *behind).value if behind else made.value]


def _largest(build: LayerBuilder, rows: Term) -> tuple[Term, Term]:
    """Values and places along the last axis, both float32 as all blobs."""
    count, wanted = rows.shape[-1], build.parameter.argmax_param.top_k
    if not isinstance(count, int) or not 1 <= wanted <= count:
        raise build.error(f"top_k {wanted} of {count} values")
    build.limit("places", count)
    # NOTE: among equals Caffe takes the last, ONNX the first.
    last = count - 1
    backwards = rows.gather(np.arange(last, -1, -1), axis=len(rows.shape) - 1)
    values, places = backwards.largest(wanted)
    return values, (places.cast(FLOAT) * -1.0) + float(last)
