"""Layers that make an image larger or smaller: Interp, and Upsample with and without a pooling mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import Attributes, LayerBuilder
from exporters.caffe.formula import INT64, Term
from exporters.caffe.shapes import MAX_COUNT, dims

_SIDES = ("height", "width")


def interp(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Interp (DeepLab, PSPNet): bilinear, the corners of both images on each other; pads cut pixels off.

    A second bottom (`use_blob_size`) is an image of the size to make.
    """
    parameter = build.parameter.interp_param
    if parameter.use_blob_size != (len(bottoms) > 1):
        raise build.error("use_blob_size: true goes with a second bottom, and neither without the other")
    x = _cut_off(build, bottoms[0])
    if parameter.use_blob_size:
        sizes = list(build.image(bottoms[1])[1:])
    else:
        held = build.image(x.value)[1:]
        sizes = [_interp_size(build, size, field) for size, field in zip(held, _SIDES, strict=True)]
    if min(sizes) < 1:
        raise build.error(f"would make an image of {sizes} pixels; give height and width, or a factor")
    attributes = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    return [_resized(build, x, sizes, attributes)]


def _cut_off(build: LayerBuilder, image: ir.Value) -> Term:
    """The image without the pixels that negative pads take off both its sides."""
    parameter = build.parameter.interp_param
    before, behind = parameter.pad_beg, parameter.pad_end
    if before > 0 or behind > 0:
        raise build.error(f"pad_beg {before} and pad_end {behind}: Caffe's Interp only cuts off (0 or less)")
    x = Term(build, image)
    for axis, size in enumerate(build.image(image)[1:], start=2):
        if size + before + behind < 1:
            raise build.error(f"pad_beg {before} and pad_end {behind} leave nothing of {size} pixels")
        x = x.slice(axis, -before, size + behind) if before or behind else x
    return x


def _interp_size(build: LayerBuilder, size: int, field: str) -> int:
    """Caffe's order: shrink_factor, then zoom_factor; or the size itself."""
    parameter = build.parameter.interp_param
    if parameter.HasField("shrink_factor") or parameter.HasField("zoom_factor"):
        if min(parameter.shrink_factor, parameter.zoom_factor) < 1:
            raise build.error("shrink_factor and zoom_factor are 1 or more")
        shrunk = (size - 1) // parameter.shrink_factor + 1
        return int(shrunk + (shrunk - 1) * (parameter.zoom_factor - 1))
    return int(getattr(parameter, field))


def upsample(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Upsample: each pixel several times (YOLO); or, with a mask, where it was pooled from (SegNet)."""
    if len(bottoms) == 2:
        return [_unpooled(build, bottoms)]
    _, height, width = build.image(bottoms[0])
    tall, wide = _scales(build)
    attributes = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return [_resized(build, Term(build, bottoms[0]), [height * tall, width * wide], attributes)]


def _scales(build: LayerBuilder) -> tuple[int, int]:
    parameter = build.parameter.upsample_param
    scales = (parameter.scale_h or parameter.scale, parameter.scale_w or parameter.scale)
    if min(scales) < 1:
        raise build.error("scale is 1 or more")
    return scales


def _unpooled(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> ir.Value:
    """Zeros, and every value where the mask, a Pooling layer's second top, says that it came from."""
    if dims(bottoms[0]) != dims(bottoms[1]):
        raise build.error(f"shapes {list(dims(bottoms[0]))} and {list(dims(bottoms[1]))} differ")
    parameter = build.parameter.upsample_param
    batch = dims(bottoms[0])[0]
    channels, height, width = build.image(bottoms[0])
    tall, wide = _scales(build)
    size = (
        parameter.upsample_h or height * tall - int(parameter.pad_out_h),
        parameter.upsample_w or width * wide - int(parameter.pad_out_w),
    )
    values = Term(build, bottoms[0]).reshape(batch, channels, height * width)
    places = Term(build, bottoms[1]).reshape(batch, channels, height * width).cast(INT64)
    area = size[0] * size[1]
    shape = values.constant("shape", np.array([1, 1, min(area, MAX_COUNT)], np.int64))
    empty = (values.slice(2, 0, 1) * 0.0).make("Expand", [shape], (batch, channels, area))
    filled = empty.make("ScatterElements", [places, values], empty.shape, {"axis": 2})
    return filled.reshape(batch, channels, *size).value


def _resized(build: LayerBuilder, x: Term, sizes: list[int], attributes: Attributes) -> ir.Value:
    """NOTE: said as scales, since TensorRT's parser does not take the sizes of two axes alone."""
    batch, channels, height, width = x.shape
    held = np.array([height, width], np.float64)
    scales = (np.array(sizes) / held).astype(np.float32)
    # ONNX rounds size * scale down, so a scale that float32 made smaller would lose a pixel.
    scales = np.where(scales * held < sizes, np.nextafter(scales, np.float32(np.inf)), scales)
    inputs = [x.value, None, build.constant("scales", np.array([1, 1, *scales], np.float32))]
    return build.node("Resize", inputs, (batch, channels, *sizes), attributes)
