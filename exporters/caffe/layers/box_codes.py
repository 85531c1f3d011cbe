"""How SSD's offsets move a prior box: Caffe's three codes, with the priors worked in as constants.

The formulas are those of DecodeBBox in bbox_util.cpp of weiliu89/caffe, branch ssd. RefineDet moves a box
twice: what the first offsets make of a prior is the prior of the second ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term, concat
from exporters.caffe.schema import schema
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import DetectionOutputParameter

_Boxes = TypeVar("_Boxes", Array, Term)
"""Fixed ones, which are worked in, or such as the network makes."""


def decode(build: LayerBuilder, offsets: Term, priors: Array, parameter: DetectionOutputParameter) -> Term:
    """Offsets [batch, boxes, kinds, 4] and priors [2, boxes, 4] (corners, variances) to corners."""
    corners: Array = priors[0, :, np.newaxis]
    is_corner = parameter.code_type == schema().PriorBoxParameter.CORNER
    if not is_corner and (corners[..., 2:] - corners[..., :2]).min() <= 0:
        raise build.error("a prior box has no width or height; give a min_size of a pixel or more")
    return _moved(offsets, corners, priors, parameter)


def decode_again(offsets: Term, boxes: Term, priors: Array, parameter: DetectionOutputParameter) -> Term:
    """Offsets [batch, boxes, kinds, 4] from what other offsets made of the priors, [batch, boxes, 1, 4]."""
    return _moved(offsets, boxes, priors, parameter)


def _moved(offsets: Term, boxes: _Boxes, priors: Array, parameter: DetectionOutputParameter) -> Term:
    codes = schema().PriorBoxParameter
    variances: Array = priors[1, :, np.newaxis]
    if parameter.variance_encoded_in_target:
        variances = np.ones_like(variances)
    if parameter.code_type == codes.CORNER:
        return offsets * variances + boxes
    start, end = _halves(boxes)
    sizes = end - start
    if parameter.code_type == codes.CORNER_SIZE:
        return offsets * (_twice(sizes) * variances) + boxes
    centre = offsets.slice(3, 0, 2) * (sizes * variances[..., :2]) + (start + end) * 0.5
    half = (offsets.slice(3, 2, 4) * variances[..., 2:]).apply("Exp") * (sizes * 0.5)
    return concat([centre - half, centre + half], axis=3)


def _halves(boxes: _Boxes) -> tuple[_Boxes, _Boxes]:
    """Where boxes start and where they end."""
    if isinstance(boxes, Term):
        return boxes.slice(3, 0, 2), boxes.slice(3, 2, 4)
    return boxes[..., :2], boxes[..., 2:]


def _twice(sizes: _Boxes) -> _Boxes:
    if isinstance(sizes, Term):
        return concat([sizes, sizes], axis=3)
    return np.concatenate([sizes, sizes], axis=-1)


def may_be_inside_out(parameter: DetectionOutputParameter) -> bool:
    """Whether a decoded box can end before it starts: only the exponents of CENTER_SIZE forbid it."""
    return bool(parameter.code_type != schema().PriorBoxParameter.CENTER_SIZE)
