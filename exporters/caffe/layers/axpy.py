"""Axpy: a blob scaled channel by channel, plus another (SE-Net)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`a * x + y`; a has one number for each channel of each sample, [batch, C] or [batch, C, 1, 1]."""
    scale, x, y = (Term(build, bottom) for bottom in bottoms)
    if y.shape != x.shape or scale.shape[:2] != x.shape[:2] or set(scale.shape[2:]) - {1}:
        raise build.error(
            "wants one number a channel and two blobs of one shape, got"
            f" {', '.join(str(list(dims(bottom))) for bottom in bottoms)}"
        )
    if len(scale.shape) != len(x.shape):
        scale = scale.reshape(*x.shape[:2], *[1] * (len(x.shape) - 2))
    return [(x * scale + y).value]
