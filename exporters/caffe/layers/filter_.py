"""Filter: the samples of a batch that a last bottom selects."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import BOOL, Term
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The samples of every bottom but the last where the last one is not 0; perhaps none."""
    *blobs, selector = bottoms
    batch = dims(selector)[:1]
    if not batch or set(dims(selector)[1:]) - {1} or any(dims(blob)[:1] != batch for blob in blobs):
        raise build.error(
            "the last bottom has one number for each sample of the others, got"
            f" {', '.join(str(list(dims(bottom))) for bottom in bottoms)}"
        )
    chosen = Term(build, selector).reshape(*batch).cast(BOOL)
    count = build.dimension("selected")
    return [
        build.node("Compress", [blob, chosen.value], (count, *dims(blob)[1:]), {"axis": 0}) for blob in blobs
    ]
