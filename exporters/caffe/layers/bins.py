"""How regions are cut into bins: what ROIPooling and PSROIPooling share. Terms have a row for each region."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import FLOAT, INT64, Term, constant
from exporters.caffe.shapes import dims

_MOST_QUOTIENTS = 1 << 14


def columns_of(build: LayerBuilder, rois: ir.Value) -> list[Term]:
    """Image, x1, y1, x2, y2 of each region, [rois, 1] each; raises ExportError where there are not five.

    The number of the image is cut down to a whole one, as C does where it makes an int of it.
    """
    shape = dims(rois)
    if shape[1:2] != (5,) or set(shape[2:]) - {1}:
        raise build.error(f"bottom 1 has five columns (image, x1, y1, x2, y2), got {list(shape)}")
    table = Term(build, rois)
    image, *corners = (table.reshape(shape[0], 5) if len(shape) > 2 else table).columns()
    return [image.cast(INT64).cast(FLOAT), *corners]


def round_away(value: Term) -> Term:
    """C's round: halves away from zero, where ONNX's Round takes the even number."""
    size = value.apply("Abs")
    whole = size.apply("Floor")
    return (whole + (size - whole >= 0.5).cast(FLOAT)) * value.apply("Sign")


def divided(length: Term, count: int, known: int) -> Term:
    """`length / count`, rounded as IEEE 754 says, of whole numbers that are not negative.

    NOTE: OpenVINO multiplies with the inverse, which can move the edge of a bin by a pixel; so the quotients
    of all regions that are not far larger than the map are looked up.
    """
    last = min(known, _MOST_QUOTIENTS)
    quotients = np.arange(last + 1, dtype=np.float32) / np.float32(count)
    place = length.minimum(float(last)).cast(INT64)
    looked_up = constant(length.build, "quotients", quotients).gather(place)
    return (length > float(last)).where(length / float(count), looked_up)


def on_the_map(edge: Term, size: int) -> Term:
    """An edge of a bin, not in front of the first of `size` pixels and not behind the last."""
    return edge.maximum(0.0).minimum(float(size))
