"""How SSD's offsets move a prior box: Caffe's three codes, with the priors worked in as constants.

The formulas are those of DecodeBBox in bbox_util.cpp of weiliu89/caffe, branch ssd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term, concat
from exporters.caffe.schema import schema
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import DetectionOutputParameter


def decode(build: LayerBuilder, offsets: Term, priors: Array, parameter: DetectionOutputParameter) -> Term:
    """Offsets [batch, boxes, kinds, 4] and priors [2, boxes, 4] (corners, variances) to corners."""
    corners: Array = priors[0, :, np.newaxis]
    variances: Array = priors[1, :, np.newaxis]
    if parameter.variance_encoded_in_target:
        variances = np.ones_like(variances)
    codes = schema().PriorBoxParameter
    sizes: Array = corners[..., 2:] - corners[..., :2]
    if parameter.code_type == codes.CORNER:
        return offsets * variances + corners
    if sizes.min() <= 0:
        raise build.error("a prior box has no width or height; give a min_size of a pixel or more")
    if parameter.code_type == codes.CORNER_SIZE:
        scales: Array = variances * np.tile(sizes, 2)
        return offsets * scales + corners
    centres = (corners[..., :2] + corners[..., 2:]) / 2
    centre = offsets.slice(3, 0, 2) * (variances[..., :2] * sizes) + centres
    half = (offsets.slice(3, 2, 4) * variances[..., 2:]).apply("Exp") * (sizes / 2)
    return concat([centre - half, centre + half], axis=3)


def may_be_inside_out(parameter: DetectionOutputParameter) -> bool:
    """Whether a decoded box can end before it starts: only the exponents of CENTER_SIZE forbid it."""
    return bool(parameter.code_type != schema().PriorBoxParameter.CENTER_SIZE)
