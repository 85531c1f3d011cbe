"""PriorBox: the boxes that a detection layer's answers are relative to, worked out now (SSD).

Formula and rounding are those of PriorBoxLayer in weiliu89/caffe, branch ssd: sizes are cut down to whole
pixels, centres are float32, corners float64 until they are stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import PriorBoxParameter

_LARGEST_SIZE = 1 << 20
_SAME_RATIO = 1e-6
_MOST_RATIOS = 1000  # each is compared with those before it
_DEFAULT_VARIANCE = 0.1


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """[1, 2, boxes * 4]: corners as fractions of the image, then what each offset is scaled by."""
    parameter = build.parameter.prior_box_param
    _check(build, parameter)
    _, height, width = build.image(bottoms[0])
    build.limit("corners of prior boxes", 4 * height * width * _shape_count(parameter))
    image = _image_size(build, bottoms)
    with np.errstate(all="ignore"):  # what comes of absurd numbers is refused below
        boxes = _boxes(parameter, (height, width), image)
    if not np.isfinite(boxes).all():
        raise build.error("makes boxes that are not finite; look at its sizes, ratios, step and offset")
    if parameter.clip:
        boxes = boxes.clip(0, 1)
    variance = np.array(parameter.variance or [_DEFAULT_VARIANCE], np.float32)
    variances = np.broadcast_to(variance, boxes.shape)
    return [build.constant("priors", np.stack([boxes.ravel(), variances.ravel()])[np.newaxis])]


def _check(build: LayerBuilder, parameter: PriorBoxParameter) -> None:
    least, most = list(parameter.min_size), list(parameter.max_size)
    if not least or min(least) <= 0 or max(least + most) > _LARGEST_SIZE:
        raise build.error(f"min_size {least}, max_size {most}: give one or more sizes above 0, in pixels")
    if most and (len(most) != len(least) or any(b <= a for a, b in zip(least, most, strict=True))):
        raise build.error(f"max_size {most} for min_size {least}: give none, or a larger one for each")
    if len(parameter.variance) not in (0, 1, 4) or min(parameter.variance, default=1) <= 0:
        raise build.error(f"variance {list(parameter.variance)}: give one number, or four, above 0")
    if len(parameter.aspect_ratio) > _MOST_RATIOS:
        raise build.error(f"has {len(parameter.aspect_ratio)} aspect ratios, at most {_MOST_RATIOS} are read")
    if min(parameter.aspect_ratio, default=1) <= 0:
        raise build.error(f"aspect_ratio {list(parameter.aspect_ratio)}: every ratio is above 0")
    for one, pair in (("step", ("step_h", "step_w")), ("img_size", ("img_h", "img_w"))):
        given = [name for name in pair if parameter.HasField(name)]
        if given and (parameter.HasField(one) or len(given) == 1):
            raise build.error(f"give {one}, or both {pair[0]} and {pair[1]}")


def _image_size(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> tuple[int, int]:
    parameter = build.parameter.prior_box_param
    if parameter.HasField("img_size"):
        return parameter.img_size, parameter.img_size
    if parameter.HasField("img_h"):
        return parameter.img_h, parameter.img_w
    if len(bottoms) == 1:
        raise build.error("has one bottom and no img_size; give the image as second bottom")
    _, height, width = build.image(bottoms[1])
    return height, width


def _boxes(parameter: PriorBoxParameter, cells: tuple[int, int], image: tuple[int, int]) -> Array:
    """Corners x1, y1, x2, y2 of every box: rows, then columns, then shapes."""
    sizes = _shapes(parameter)
    y, x = (
        (np.arange(count, dtype=np.float32) + np.float32(parameter.offset)) * step
        for count, step in zip(cells, _steps(parameter, cells, image), strict=True)
    )
    centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2).astype(np.float64)
    corners = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=-1)
    scale = np.array([image[1], image[0]] * 2, np.float64)
    return (corners / scale).reshape(-1, 4).astype(np.float32)


def _steps(parameter: PriorBoxParameter, cells: tuple[int, int], image: tuple[int, int]) -> Array:
    """Height and width of a cell in pixels, as float32."""
    given = [parameter.step_h or parameter.step, parameter.step_w or parameter.step]
    if all(given):
        return np.array(given, np.float32)
    return np.array(image, np.float32) / np.array(cells, np.float32)


def _shapes(parameter: PriorBoxParameter) -> Array:
    """Width and height of each box of a cell, [1, shapes, 2]."""
    ratios = _ratios(parameter)
    shapes = []
    for least, most in itertools.zip_longest(parameter.min_size, parameter.max_size):
        # NOTE: Caffe stores both sizes in an int. Most SSD networks have fractional ones.
        size = int(least)
        shapes.append((size, size))
        if most is not None:
            shapes.append((np.sqrt(size * int(most)),) * 2)
        shapes += [(size * np.sqrt(ratio), size / np.sqrt(ratio)) for ratio in ratios]
    return np.array(shapes, np.float32).astype(np.float64)[np.newaxis]


def _shape_count(parameter: PriorBoxParameter) -> int:
    """At most so many boxes a cell."""
    return len(parameter.min_size) * (2 * len(parameter.aspect_ratio) + 2)


def _ratios(parameter: PriorBoxParameter) -> list[float]:
    """Width by height of each box that is not square; `flip` adds the inverse behind each."""
    ratios = [np.float32(1)]
    for ratio in np.array(parameter.aspect_ratio, np.float32):
        if all(abs(ratio - known) >= _SAME_RATIO for known in ratios):
            ratios += [ratio, np.float32(1 / ratio)] if parameter.flip else [ratio]
    return [float(ratio) for ratio in ratios if abs(ratio - 1) >= _SAME_RATIO]
