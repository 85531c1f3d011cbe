"""PSROIPooling: the mean of each bin of each region, every bin from channels of its own (R-FCN).

The bins are those of PSROIPoolingLayer in daijifeng001/caffe-rfcn. A bin is rows times columns, so its sum is
a product with ones over its columns, and then one with ones over its rows: no running totals, whose rounding
would grow with the map. Every region is summed over the columns of every image of the batch before its own
image is chosen; R-FCN itself takes one image at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import FLOAT, INT64, Term, constant
from exporters.caffe.layers.bins import columns_of, divided, on_the_map, round_away
from exporters.caffe.shapes import dims

_LEAST_REGION = 0.1
"""Of the map's pixels: the least height and width of a region."""


@dataclass(frozen=True)
class _Bins:
    """Bins along one dimension: their pixels as ones, [rois, bins, size], and how many each has."""

    pixels: Term
    counts: Term


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Features [batch, output_dim * g * g, H, W] and regions [rois, 5] to [rois, output_dim, g, g]."""
    parameter = build.parameter.psroi_pooling_param
    bins, kinds = parameter.group_size, parameter.output_dim
    channels, height, width = build.image(bottoms[0])
    if bins < 1 or kinds < 1 or parameter.spatial_scale <= 0:
        raise build.error("give output_dim, group_size and spatial_scale, all above 0")
    if channels != kinds * bins * bins:
        raise build.error(
            f"output_dim {kinds} and group_size {bins} want {kinds * bins * bins} channels, got {channels}"
        )
    image, x1, y1, x2, y2 = columns_of(build, bottoms[1])
    rows, columns = _bins(build, y1, y2, height), _bins(build, x1, x2, width)
    sums = _sums(Term(build, bottoms[0]), image, rows, columns)
    rois = dims(bottoms[1])[0]
    area = rows.counts.reshape(rois, 1, bins) * columns.counts.reshape(rois, bins, 1)
    means = sums / area.maximum(1.0).reshape(rois, bins, bins, 1)
    return [means.transpose(0, 3, 2, 1).value]


def _bins(build: LayerBuilder, start: Term, end: Term, size: int) -> _Bins:
    """The bins over the image's pixels from `start` to `end`, both included, on a map of `size` pixels."""
    parameter = build.parameter.psroi_pooling_param
    count, scale = parameter.group_size, parameter.spatial_scale
    first, last = round_away(start), round_away(end)
    pixels = (last - first + 1.0).maximum(0.0)
    least = np.float32(_LEAST_REGION) / np.float32(count)
    step = (divided(pixels, count, int(2 * size / scale)) * scale).maximum(float(least))
    index = np.arange(count, dtype=np.float32)
    begin = first * scale
    starts = on_the_map((step * index + begin).apply("Floor"), size)
    ends = on_the_map((step * (index + 1) + begin).apply("Ceil"), size)
    places = constant(build, "pixels", np.arange(size, dtype=np.float32))
    rois = start.shape[0]
    inside = (places >= starts.reshape(rois, count, 1)) & (ends.reshape(rois, count, 1) > places)
    return _Bins(inside.cast(FLOAT), ends - starts)


def _sums(features: Term, image: Term, rows: _Bins, columns: _Bins) -> Term:
    """Sums of each region's bins in its image, [rois, bin columns, bin rows, output_dim]."""
    batch, channels, height, width = features.shape
    rois, bins, _ = rows.pixels.shape
    kinds = int(channels) // int(bins) ** 2
    split = features.reshape(batch, kinds, bins, bins, height, width).transpose(0, 3, 5, 2, 1, 4)
    lines = split.reshape(batch, bins, width, int(bins) * kinds * int(height))
    across = columns.pixels.transpose(1, 0, 2)
    shape = (batch, bins, rois, lines.shape[-1])
    by_image = across.make("MatMul", [lines], shape).transpose(2, 0, 1, 3)
    own = by_image.gather_rows(image.cast(INT64), batch_dims=1)
    down = own.reshape(rois, bins, bins, kinds, height) * rows.pixels.reshape(rois, 1, bins, 1, height)
    axes = down.constant("axes", np.array([4], np.int64))
    return down.make("ReduceSum", [axes], down.shape[:4], {"keepdims": 0})
