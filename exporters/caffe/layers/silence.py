"""Silence: marks blobs as not wanted, so that they are no outputs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Nothing."""
    del build, bottoms
    return []
