"""Proposal: anchors, moved by the region proposal network and suppressed, as regions (Faster R-CNN).

Two layers share the arithmetic: py-faster-rcnn's Python layer rpn.proposal_layer.ProposalLayer, with the
numbers of its TEST configuration, and the C++ `Proposal` of PVANET and others, with `proposal_param`. The
Python layer takes one image at a time; here every image of a batch has its regions, one image after another,
and the first column of a region is the image's number.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import FLOAT, Term, concat
from exporters.caffe.shapes import dims
from exporters.caffe.suppression import Suppression
from runtime.tensors import Array

_NEVER = -1.0
"""The score of a box that is too small; probabilities are above `_LEAST_SCORE`."""

_LEAST_SCORE = -0.5

_LARGEST = 1e6
"""More than any ratio, and any scale, stride or size in pixels."""

_KNOWN = frozenset({"feat_stride", "num_classes", "ratios", "scales"})
"""What param_str may say; PVANET's says the classes too, which the layer does not ask for."""


@dataclass(frozen=True)
class Regions:
    """What a Proposal layer is told; sizes in pixels. The defaults are py-faster-rcnn's at test time."""

    stride: int = 16
    base: int = 16
    ratios: tuple[float, ...] = (0.5, 1, 2)
    scales: tuple[float, ...] = (8, 16, 32)
    least_side: float = 16
    before: int = 6000
    after: int = 300
    overlap: float = 0.7


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The C++ layer; a second top has the regions' scores."""
    parameter = build.parameter.proposal_param
    regions = Regions(
        stride=parameter.feat_stride,
        base=parameter.base_size,
        ratios=tuple(parameter.ratio) or Regions.ratios,
        scales=tuple(parameter.scale) or Regions.scales,
        least_side=parameter.min_size,
        before=parameter.pre_nms_topn,
        after=parameter.post_nms_topn,
        overlap=parameter.nms_thresh,
    )
    return _proposals(build, bottoms, regions)


def python_layer(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The Python layer; its `param_str` can say feat_stride, scales and (PVANET) ratios."""
    told = _param_str(build)
    unknown = sorted(told.keys() - _KNOWN)
    if unknown:
        raise build.error(f"param_str says {', '.join(unknown)}; {', '.join(sorted(_KNOWN))} are known")
    stride = told.get("feat_stride", Regions.stride)
    scales, ratios = (_numbers(build, told, name) for name in ("scales", "ratios"))
    if not isinstance(stride, int):
        raise build.error(f"param_str {told}: feat_stride is a whole number")
    regions = Regions(stride, scales=scales or Regions.scales, ratios=ratios or Regions.ratios)
    return _proposals(build, bottoms, regions)


def anchors(regions: Regions) -> Array:
    """Corners of the anchors of one cell, ratio by ratio and in each scale by scale, [A, 4]."""
    ratios, scales = np.array(regions.ratios), np.array(regions.scales)
    widths = np.round(np.sqrt(regions.base**2 / ratios))
    heights = np.round(widths * ratios)
    sizes = np.stack([widths, heights], axis=-1)[:, np.newaxis] * scales[:, np.newaxis]
    half = (sizes.reshape(-1, 2) - 1) / 2
    centre = (regions.base - 1) / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def _param_str(build: LayerBuilder) -> dict[str, object]:
    """`'feat_stride': 16`, a dictionary without or with its braces, in one line or several.

    It is YAML, whose tag for a tuple (`!!python/tuple [4, 8]`, R-FCN) says nothing that matters here.
    """
    text = build.parameter.python_param.param_str.replace("!!python/tuple", "").strip().strip("{}")
    pairs = re.split(r"[\n;]|,(?![^\[(]*[\])])", text)
    try:
        named = (pair.split(":", 1) for pair in pairs if pair.strip())
        return {name.strip().strip("'\""): ast.literal_eval(value.strip()) for name, value in named}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise build.error(f"param_str {text[:200]!r} is not of the form 'feat_stride': 16") from error


def _numbers(build: LayerBuilder, told: dict[str, object], name: str) -> tuple[float, ...]:
    """A list of numbers above 0 that `param_str` holds; empty where it does not."""
    found = told.get(name, ())
    if not isinstance(found, list | tuple) or not all(
        isinstance(number, int | float) and 0 < number <= _LARGEST for number in found
    ):
        raise build.error(f"param_str {told}: {name} is a list of numbers above 0")
    return tuple(found)


def _proposals(build: LayerBuilder, bottoms: Sequence[ir.Value], regions: Regions) -> Sequence[ir.Value]:
    sizes = (*regions.ratios, *regions.scales, regions.base, regions.stride)
    if not 0 < min(sizes) <= max(sizes) <= _LARGEST:
        raise build.error(f"takes ratios, scales, stride and base size from 0 to {_LARGEST:g}, got {regions}")
    cell = anchors(regions)
    _check(build, bottoms, regions, len(cell))
    build.limit("corners of anchors", 4 * prod(build.image(bottoms[1])[1:]) * len(cell))
    batch, (_, height, width) = dims(bottoms[0])[0], build.image(bottoms[0])
    count = height * width * len(cell)
    info = Term(build, bottoms[2])
    moved = Term(build, bottoms[1]).reshape(batch, len(cell), 4, height, width).transpose(0, 3, 4, 1, 2)
    boxes = _moved(moved.reshape(batch, count, 4), _spread(cell, regions.stride, height, width), info)
    foreground = Term(build, bottoms[0]).slice(1, len(cell), 2 * len(cell)).transpose(0, 2, 3, 1)
    scores = _large_enough(boxes, info, regions).where(foreground.reshape(batch, count), _NEVER)
    if regions.before < count:
        scores, places = scores.largest(regions.before)
        boxes = boxes.gather_rows(places.reshape(batch, regions.before, 1), batch_dims=1)
    # NOTE: here a box ends with its last pixel, in ONNX behind it.
    ends = boxes + np.array([0, 0, 1, 1], np.float32)
    kept = Suppression(regions.after, regions.overlap, _LEAST_SCORE).keep(ends, scores)
    rois = concat([kept.slice(1, 0, 1).cast(FLOAT), boxes.gather_rows(kept)], axis=1)
    if build.tops == 1:
        return [rois.value]
    return [rois.value, scores.gather_rows(kept).value]


def _check(build: LayerBuilder, bottoms: Sequence[ir.Value], regions: Regions, count: int) -> None:
    scores, deltas = build.image(bottoms[0]), build.image(bottoms[1])
    if scores != (2 * count, *deltas[1:]) or deltas[0] != 4 * count:
        raise build.error(
            f"{count} anchors want {2 * count} scores and {4 * count} offsets in each cell,"
            f" got shapes {list(dims(bottoms[0]))} and {list(dims(bottoms[1]))}"
        )
    if len(dims(bottoms[2])) != 2 or build.sizes(bottoms[2], 1)[0] < 3:
        raise build.error(f"bottom 2 is height, width and scale of each image, got {list(dims(bottoms[2]))}")
    if min(regions.before, regions.after, regions.stride) < 1:
        raise build.error(f"takes positive counts and stride, got {regions}")


def _spread(cell: Array, stride: int, height: int, width: int) -> Array:
    """The anchors of every cell: rows, then columns, then anchors, [H * W * A, 4] float32."""
    x, y = np.meshgrid(np.arange(width) * stride, np.arange(height) * stride)
    shifts = np.stack([x, y, x, y], axis=-1)[:, :, np.newaxis]
    return (shifts + cell).reshape(-1, 4).astype(np.float32)


def _moved(offsets: Term, boxes: Array, info: Term) -> Term:
    """bbox_transform_inv, then clip_boxes: widths count the last pixel, but the new corners do not."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    centre = offsets.slice(2, 0, 2) * size + (boxes[:, :2] + size / 2)
    half = offsets.slice(2, 2, 4).apply("Exp") * (size / 2)
    last = info.gather(np.array([1, 0, 1, 0]), axis=1).reshape(info.shape[0], 1, 4) - 1.0
    return concat([centre - half, centre + half], axis=2).minimum(last).maximum(0.0)


def _large_enough(boxes: Term, info: Term, regions: Regions) -> Term:
    """Whether both sides are at least `least_side` pixels of the image before it was scaled."""
    sides = boxes.slice(2, 2, 4) - boxes.slice(2, 0, 2) + 1.0
    # NOTE: PVANET gives the scales of height and width apart, others one scale.
    columns = [3, 2] if int(info.shape[1]) > 3 else [2, 2]
    least = info.gather(np.array(columns), axis=1).reshape(info.shape[0], 1, 2) * regions.least_side
    width, height = (sides >= least).columns()
    return (width & height).reshape(*boxes.shape[:2])
