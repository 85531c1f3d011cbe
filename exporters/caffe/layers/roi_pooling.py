"""ROIPooling: the largest value in each bin of each region (Fast and Faster R-CNN).

ONNX's MaxRoiPool is the same function, but ONNX Runtime 1.32 has it on the CPU only below opset 22, and
TensorRT's parser not at all. So it is said with operators that all have: a table holds, for each pixel, the
maxima of the windows of 1, 2, 4, ... pixels that start there, and the maximum of a bin is that of the four
windows of the table that cover it together (the sparse table of range-minimum queries, in two dimensions;
Bender and Farach-Colton, The LCA Problem Revisited, 2000). Maxima are not rounded, so the answer is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import Attributes, LayerBuilder
from exporters.caffe.formula import FLOAT, INT64, Term, concat, times
from exporters.caffe.layers.bins import columns_of, divided, on_the_map, round_away


@dataclass(frozen=True)
class _Bins:
    """Bins along one dimension, [rois, bins] float32: from pixel `start` up to, not including, `end`."""

    start: Term
    end: Term

    def windows(self, size: int) -> tuple[Term, Term, Term]:
        """Level of the table, and starts of the two windows of 2 ** level pixels that cover each bin."""
        length = self.end - self.start
        level, reach = length * 0.0, length * 0.0 + 1.0
        for power in range(1, _levels(size)):
            longer = (length >= float(2**power)).cast(FLOAT)
            level, reach = level + longer, reach + longer * float(2 ** (power - 1))
        first = self.start.minimum(float(size - 1))  # an empty bin may start behind the last pixel
        return level, first, (self.end - reach).maximum(0.0)


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Features [batch, C, H, W] and regions [rois, 5] (image, corners in its pixels) to [rois, C, ph, pw]."""
    parameter = build.parameter.roi_pooling_param
    _, height, width = build.image(bottoms[0])
    if parameter.pooled_h < 1 or parameter.pooled_w < 1 or parameter.spatial_scale <= 0:
        raise build.error("give pooled_h, pooled_w and spatial_scale, all above 0")
    image, *corners = columns_of(build, bottoms[1])
    build.limit("edges of bins", parameter.pooled_h + parameter.pooled_w)
    x1, y1, x2, y2 = (round_away(corner * parameter.spatial_scale) for corner in corners)
    rows, columns = _bins(y1, y2, parameter.pooled_h, height), _bins(x1, x2, parameter.pooled_w, width)
    return [_maxima(Term(build, bottoms[0]), image, rows, columns).transpose(0, 3, 1, 2).value]


def _bins(start: Term, end: Term, count: int, size: int) -> _Bins:
    """`count` bins over the pixels start to end, both included, cut off at the map's borders."""
    step = divided((end - start + 1.0).maximum(1.0), count, 2 * size + 2)
    index = np.arange(count, dtype=np.float32)
    first = (step * index).apply("Floor") + start
    behind = (step * (index + 1)).apply("Ceil") + start
    return _Bins(on_the_map(first, size), on_the_map(behind, size))


def _levels(size: int) -> int:
    """How many powers of two, from 1 on, are not above `size`."""
    return size.bit_length()


def _maxima(features: Term, image: Term, rows: _Bins, columns: _Bins) -> Term:
    """[rois, ph, pw, C]: the maximum of four windows that cover a bin; 0 in one without pixels."""
    _, _, height, width = features.shape
    table = _table(features)
    row_level, *tops = rows.windows(int(height))
    column_level, *lefts = columns.windows(int(width))
    levels = _levels(int(width))
    block = _outer(row_level * float(levels) + image * float(_levels(int(height)) * levels), column_level)
    found = []
    for top in tops:
        for left in lefts:
            place = _outer(top * float(width), left)
            # Whole numbers from here on: float32 counts to 2 ** 24 only.
            index = block.cast(INT64) * (int(height) * int(width)) + place.cast(INT64)
            found.append(table.gather(index))
    largest = reduce(Term.maximum, found)
    rois, high, wide, _ = largest.shape
    filled = _outer_and(rows.end > rows.start, columns.end > columns.start)
    return filled.reshape(rois, high, wide, 1).where(largest, 0.0)


def _outer(rows: Term, columns: Term) -> Term:
    """[rois, ph] and [rois, pw] added to [rois, ph, pw]."""
    return rows.reshape(*rows.shape, 1) + columns.reshape(columns.shape[0], 1, columns.shape[1])


def _outer_and(rows: Term, columns: Term) -> Term:
    return rows.reshape(*rows.shape, 1) & columns.reshape(columns.shape[0], 1, columns.shape[1])


def _table(features: Term) -> Term:
    """Maxima of the windows at each pixel, [batch * levels * levels * H * W, C], windows by height, width."""
    batch, channels, height, width = features.shape
    blocks, rows = [], features
    for row_level in range(_levels(int(height))):
        rows = _doubled(rows, row_level, (1, 0))
        block = rows
        for column_level in range(_levels(int(width))):
            block = _doubled(block, column_level, (0, 1))
            blocks.append(block)
    joined = concat(blocks, axis=2).transpose(0, 2, 3, 1)
    places = times(len(blocks) * int(height) * int(width), batch)
    return joined.reshape(places, int(channels))


def _doubled(maxima: Term, level: int, direction: tuple[int, int]) -> Term:
    """Windows of 2 ** level pixels along `direction` from those of half of it; behind the border is nothing.

    NOTE: two of the smaller windows would do, but no runtime pads a kernel of two by more than one.
    """
    if level == 0:
        return maxima
    gap = 2 ** (level - 1)
    down, right = gap * direction[0], gap * direction[1]
    attributes: Attributes = {"kernel_shape": [1 + down, 1 + right], "pads": [0, 0, down, right]}
    return maxima.make("MaxPool", [], maxima.shape, attributes)
