"""SPP: an image pooled into 1, 2 x 2, 4 x 4, ... bins, so that any image makes as many values."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term, concat
from exporters.caffe.layers.pooling import Windows, average, maximum, windows_along
from exporters.caffe.shapes import dims

_HIGHEST = 16
"""The most levels: 2 ** 15 bins a side are more than any image has pixels."""


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """[batch, C * bins] of all levels together; of one level, [batch, C, 1, 1]."""
    parameter = build.parameter.spp_param
    if not 1 <= parameter.pyramid_height <= _HIGHEST:
        raise build.error(f"pyramid_height is {parameter.pyramid_height}; give 1 to {_HIGHEST}")
    if parameter.pool == parameter.STOCHASTIC:
        raise build.error("pool: STOCHASTIC draws at random; ONNX has MAX and AVE")
    levels = [_pooled(build, bottoms[0], 2**level) for level in range(parameter.pyramid_height)]
    if len(levels) == 1:
        return [levels[0].value]
    return [concat([_flat(build, level) for level in levels], axis=1).value]


def _pooled(build: LayerBuilder, x: ir.Value, bins: int) -> Term:
    parameter = build.parameter.spp_param
    channels, *image = build.image(x)
    windows = _windows(build, image, bins)
    shape = (dims(x)[0], channels, *(axis.count for axis in windows))
    pool = average if parameter.pool == parameter.AVE else maximum
    return Term(build, pool(build, x, windows, shape))


def _windows(build: LayerBuilder, image: Sequence[int], bins: int) -> list[Windows]:
    """Windows as large as their stride; what they cover beyond the image is padding, halved upwards."""
    kernels = [-(-size // bins) for size in image]
    pads = [(kernel * bins - size + 1) // 2 for kernel, size in zip(kernels, image, strict=True)]
    return [
        windows_along(build, size, (kernel, kernel, pad), padded=any(pads))
        for size, kernel, pad in zip(image, kernels, pads, strict=True)
    ]


def _flat(build: LayerBuilder, level: Term) -> Term:
    return level.reshape(level.shape[0], prod(build.sizes(level.value, 1)))
