"""Split: one blob under several names (Caffe inserts it itself; saved networks can hold it)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The bottom, once for each top: an ONNX value may be read any number of times."""
    return list(bottoms) * build.tops
