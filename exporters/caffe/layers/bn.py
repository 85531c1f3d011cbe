"""BN: batch normalisation as forks had it before Caffe: SegNet's and ENet's two blobs, PSPNet's four."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims

_WITH_STATISTICS = 4


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`x * scale + shift`, the statistics already worked in; or, with four blobs, of x normalised."""
    parameter = build.parameter.bn_param
    shape = dims(bottoms[0])
    (channels,) = build.sizes(bottoms[0], build.axis(bottoms[0], 1), 2)
    roles = ["scale", "shift"]
    mean, variance, eps = np.zeros(channels, np.float32), np.ones(channels, np.float32), 0.0
    if build.blobs >= _WITH_STATISTICS:
        mean, variance = (build.blob(i, role, (channels,)) for i, role in ((2, "mean"), (3, "variance")))
        eps = parameter.eps
    elif parameter.bn_mode == parameter.LEARN:
        raise build.error(
            "normalises with the batch itself; train its statistics in and say bn_mode: INFERENCE"
        )
    constants = [build.constant(role, build.blob(i, role, (channels,))) for i, role in enumerate(roles)]
    constants += [build.constant("mean", mean), build.constant("variance", variance)]
    return [build.node("BatchNormalization", [bottoms[0], *constants], shape, {"epsilon": eps})]
