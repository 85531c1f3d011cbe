"""ShuffleChannel: the channels of each group dealt out to all groups (ShuffleNet)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Channel j of group i becomes channel i of new group j."""
    group = build.parameter.shuffle_channel_param.group
    channels, height, width = build.image(bottoms[0])
    if group < 1 or channels % group:
        raise build.error(f"group {group} must divide {channels} channels")
    batch = dims(bottoms[0])[0]
    grouped = Term(build, bottoms[0]).reshape(batch, group, channels // group, height, width)
    return [grouped.transpose(0, 2, 1, 3, 4).reshape(batch, channels, height, width).value]
