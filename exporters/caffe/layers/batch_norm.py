"""BatchNorm: normalisation with the statistics that training collected; gamma and beta are a Scale's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`(x - mean) / sqrt(variance + eps)`; blobs: the sums of both, and the factor that divides them."""
    parameter = build.parameter.batch_norm_param
    if parameter.HasField("use_global_stats") and not parameter.use_global_stats:
        raise build.error("use_global_stats: false normalises with the batch itself; export the TEST network")
    shape = dims(bottoms[0])
    if len(shape) < 2:
        raise build.error(f"wants a blob with channels in dimension 1, got {list(shape)}")
    (channels,) = build.sizes(bottoms[0], 1, 2)
    factor = build.blob(2, "moving-average factor", (1,))[0]
    # NOTE: a factor of 0 (a network that was never trained) means "multiply by 0", not a division.
    factor = 0 if factor == 0 else np.float32(1) / factor
    mean = build.blob(0, "mean", (channels,)) * np.float32(factor)
    variance = build.blob(1, "variance", (channels,)) * np.float32(factor)
    if variance.min() + parameter.eps <= 0:
        raise build.error(
            f"variance {variance.min():g} + eps {parameter.eps:g} has no square root to divide by"
        )
    constants = {"gamma": np.ones_like(mean), "beta": np.zeros_like(mean), "mean": mean, "variance": variance}
    inputs = [bottoms[0], *(build.constant(role, array) for role, array in constants.items())]
    return [build.node("BatchNormalization", inputs, shape, {"epsilon": parameter.eps})]
