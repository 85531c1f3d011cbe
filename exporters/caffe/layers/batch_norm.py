"""BatchNorm: normalisation with the statistics that training collected; gamma and beta are a Scale's.

NVIDIA's Caffe can hold both in the layer itself, and has had its five blobs in two orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims
from runtime.tensors import Array

_WITH_SCALE_AND_BIAS = 5


@dataclass(frozen=True)
class _Places:
    """Which blob is which."""

    mean: int
    variance: int
    factor: int | None
    gamma: int | None = None
    beta: int | None = None


_ALONE = _Places(mean=0, variance=1, factor=2)
_WITH_BOTH = _Places(mean=0, variance=1, factor=2, gamma=3, beta=4)
"""NVIDIA/caffe from 0.16 on, where the prototxt says scale_bias."""

_OF_NVIDIA_BEFORE = _Places(gamma=0, beta=1, mean=2, variance=3, factor=None)
"""NVIDIA/caffe 0.15: what is collected is an average already, and the fifth blob is not used."""


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """`(x - mean) / sqrt(variance + eps)`; blobs: the sums of both, and the factor that divides them."""
    parameter = build.parameter.batch_norm_param
    if parameter.HasField("use_global_stats") and not parameter.use_global_stats:
        raise build.error("use_global_stats: false normalises with the batch itself; export the TEST network")
    shape = dims(bottoms[0])
    if len(shape) < 2:
        raise build.error(f"wants a blob with channels in dimension 1, got {list(shape)}")
    (channels,) = build.sizes(bottoms[0], 1, 2)
    places = _places(build)
    mean, variance = _statistics(build, places, channels)
    if variance.min() + parameter.eps <= 0:
        raise build.error(
            f"variance {variance.min():g} + eps {parameter.eps:g} has no square root to divide by"
        )
    gamma = _learned(build, places.gamma, "gamma", np.ones_like(mean))
    beta = _learned(build, places.beta, "beta", np.zeros_like(mean))
    constants = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    inputs = [bottoms[0], *(build.constant(role, array) for role, array in constants.items())]
    return [build.node("BatchNormalization", inputs, shape, {"epsilon": parameter.eps})]


def _places(build: LayerBuilder) -> _Places:
    if build.parameter.batch_norm_param.scale_bias:
        return _WITH_BOTH
    return _OF_NVIDIA_BEFORE if build.blobs == _WITH_SCALE_AND_BIAS else _ALONE


def _statistics(build: LayerBuilder, places: _Places, channels: int) -> tuple[Array, Array]:
    mean = build.blob(places.mean, "mean", (channels,))
    variance = build.blob(places.variance, "variance", (channels,))
    if places.factor is None:
        return mean, variance
    factor = build.blob(places.factor, "moving-average factor", (1,))[0]
    # NOTE: a factor of 0 (a network that was never trained) means "multiply by 0", not a division.
    with np.errstate(over="ignore"):
        inverse = np.float32(0 if factor == 0 else np.float32(1) / factor)
        statistics = mean * inverse, variance * inverse
    if not np.isfinite(statistics).all():
        raise build.error(f"the statistics divided by the moving-average factor {factor:g} are infinite")
    return statistics


def _learned(build: LayerBuilder, index: int | None, role: str, otherwise: Array) -> Array:
    return otherwise if index is None else build.blob(index, role, otherwise.shape)
