"""Layers of Caffe's forks, and of Caffe itself, that OpenCV lacks or has otherwise: in NumPy, for it to call.

They are written from the semantics of the originals, apart from the exporter's own handlers, which they are
to judge. OpenCV does not know their parameters: those are told as the `param_str` of a Python layer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter

Told = Mapping[str, Any]
Formula = Callable[[Told, Sequence[Array], Sequence[Array]], Array]
"""What a layer is told, its bottoms and its blobs to its one top."""

_PREFIX = "aimatrix."
_WITH_STATISTICS = 4
_LEAST_AXIS = 2


@dataclass(frozen=True)
class _StandIn:
    """What a layer type computes, the message that its parameters are in, and where it is needed."""

    formula: Formula
    field: str = ""
    needed: Callable[[LayerParameter], bool] = lambda _: True


def rename(layer: LayerParameter) -> None:
    """Where OpenCV lacks the layer, a type of ours instead, and its numbers where OpenCV looks for some."""
    if layer.python_param.module == "spatial_dropout":
        layer.type = "Dropout"
    stand_in = _STAND_INS.get(layer.type)
    if stand_in is None or not stand_in.needed(layer):
        return
    told = _numbers(layer, stand_in.field) if stand_in.field else {}
    if stand_in.field:
        layer.ClearField(stand_in.field)
    layer.python_param.param_str = json.dumps(told)
    layer.type = _PREFIX + layer.type


@cache
def register(cv2: ModuleType) -> None:
    """Tell OpenCV of every type."""
    for name, layer in _CLASSES.items():
        cv2.dnn_registerLayer(_PREFIX + name, layer)


def _layer_class(formula: Formula) -> type:
    """OpenCV makes an object for each layer, asks for the shapes of its tops, then calls it."""

    class Layer:
        def __init__(self, parameters: Mapping[str, str], blobs: Sequence[Array]) -> None:
            self._told = json.loads(parameters["param_str"])
            self._blobs = [np.array(blob) for blob in blobs]

        def getMemoryShapes(self, inputs: Sequence[Sequence[int]]) -> list[list[int]]:  # noqa: N802 - OpenCV's name
            """The shape of what zeros make. What fails does so here: OpenCV hangs where `forward` does."""
            return [list(self.forward([np.zeros(shape, np.float32) for shape in inputs])[0].shape)]

        def forward(self, inputs: Sequence[Array]) -> list[Array]:
            made = formula(self._told, inputs, self._blobs)
            return [np.ascontiguousarray(made, np.float32)]

    return Layer


def _numbers(layer: LayerParameter, field: str) -> dict[str, Any]:
    """The parameters of one message that are numbers, defaults included."""
    message = getattr(layer, field)
    found = {known.name: getattr(message, known.name) for known in message.DESCRIPTOR.fields}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _bn(told: Told, bottoms: Sequence[Array], blobs: Sequence[Array]) -> Array:
    (x,) = bottoms
    scale, shift, *statistics = (blob.reshape(-1, *[1] * (x.ndim - 2)) for blob in blobs)
    if len(blobs) == _WITH_STATISTICS:
        mean, variance = statistics
        x = (x - mean) / np.sqrt(variance + told["eps"])
    return np.asarray(x * scale + shift)


def _axpy(_: Told, bottoms: Sequence[Array], __: Sequence[Array]) -> Array:
    a, x, y = bottoms
    return np.asarray(a.reshape(*x.shape[:2], *[1] * (x.ndim - 2)) * x + y)


def _upsample(told: Told, bottoms: Sequence[Array], _: Sequence[Array]) -> Array:
    tall, wide = (told[name] or told["scale"] for name in ("scale_h", "scale_w"))
    return bottoms[0].repeat(tall, 2).repeat(wide, 3)


def _tile(told: Told, bottoms: Sequence[Array], _: Sequence[Array]) -> Array:
    return np.concatenate([bottoms[0]] * told["tiles"], axis=told["axis"])


_SUM, _ABSOLUTES, _SQUARES, _MEAN = 1, 2, 3, 4


def _reduction(told: Told, bottoms: Sequence[Array], _: Sequence[Array]) -> Array:
    x = bottoms[0].astype(np.float64)
    axis = told["axis"] % x.ndim
    rows = x.reshape(*x.shape[:axis], -1)
    kinds = {
        _SUM: rows.sum(-1),
        _ABSOLUTES: np.abs(rows).sum(-1),
        _SQUARES: (rows**2).sum(-1),
        _MEAN: rows.mean(-1),
    }
    return np.asarray(kinds[told["operation"]] * told["coeff"])


def _reorg(told: Told, bottoms: Sequence[Array], _: Sequence[Array]) -> Array:
    """Darknet's: channel by channel the pixels at one place of each square, of an image stretched before."""
    (x,) = bottoms
    stride = told["stride"]
    n, channels, height, width = x.shape
    fewer = channels // stride**2
    offsets = [(down, right) for down in range(stride) for right in range(stride)]
    if told["reverse"]:
        made = np.empty((n, fewer, height * stride, width * stride), np.float32)
        for index, (down, right) in enumerate(offsets):
            made[:, :, down::stride, right::stride] = x[:, index * fewer : (index + 1) * fewer]
        return made
    stretched = x.reshape(n, fewer, height * stride, width * stride)
    parts = [stretched[:, :, down::stride, right::stride] for down, right in offsets]
    return np.concatenate(parts, axis=1).reshape(n, -1, height // stride, width // stride)


def _interp(told: Told, bottoms: Sequence[Array], _: Sequence[Array]) -> Array:
    """Corners on corners; smaller by one factor, larger by another, or of a size; pads cut pixels off."""
    x = bottoms[0].astype(np.float64)
    before, behind = -told["pad_beg"], -told["pad_end"]
    for axis, side in ((2, "height"), (3, "width")):
        x = x.take(range(before, x.shape[axis] - behind), axis)
        shrunk = (x.shape[axis] - 1) // told["shrink_factor"] + 1
        by_factor = told["shrink_factor"] > 1 or told["zoom_factor"] > 1
        size = shrunk + (shrunk - 1) * (told["zoom_factor"] - 1) if by_factor else told[side]
        at = np.linspace(0, x.shape[axis] - 1, size)
        low = np.minimum(at.astype(int), x.shape[axis] - 1)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        part = (at - low).reshape(-1, *[1] * (3 - axis))
        x = x.take(low, axis) * (1 - part) + x.take(high, axis) * part
    return x


def _lrn(told: Told, bottoms: Sequence[Array], _: Sequence[Array]) -> Array:
    """Across channels."""
    x, size = bottoms[0], told["local_size"]
    squares = np.pad(x.astype(np.float64) ** 2, ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
    total = sum(squares[:, start : start + x.shape[1]] for start in range(size))
    return np.asarray(x / (told["k"] + told["alpha"] / size * total) ** told["beta"])


def _mvn(told: Told, bottoms: Sequence[Array], _: Sequence[Array]) -> Array:
    x = bottoms[0].astype(np.float64)
    axes = (1, 2, 3) if told["across_channels"] else (2, 3)
    centred = x - x.mean(axes, keepdims=True)
    return np.asarray(centred / (np.sqrt((centred**2).mean(axes, keepdims=True)) + told["eps"]))


def _normalize(told: Told, bottoms: Sequence[Array], blobs: Sequence[Array]) -> Array:
    """Across space, with a scale for each channel."""
    x = bottoms[0].astype(np.float64)
    length = np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + told["eps"])
    return np.asarray(x / length * blobs[0].reshape(-1, 1, 1))


def _no_mask(layer: LayerParameter) -> bool:
    """Of nearly equal pixels rounding decides which one a pooling mask names.

    Two right programs then put a value into different places, and a comparison says nothing. (For the same
    reason there is no ArgMax here.)
    """
    return len(layer.bottom) == 1


def _keeps_two_dimensions(layer: LayerParameter) -> bool:
    """OpenCV has no blobs of one dimension: [batch] would come back as [batch, 1]."""
    return layer.reduction_param.axis >= _LEAST_AXIS


def _cuts_or_shrinks(layer: LayerParameter) -> bool:
    parameter = layer.interp_param
    return parameter.shrink_factor > 1 or bool(parameter.pad_beg or parameter.pad_end)


def _has_another_k(layer: LayerParameter) -> bool:
    parameter = layer.lrn_param
    return parameter.norm_region == parameter.ACROSS_CHANNELS and parameter.k != 1


def _has_eps_of_its_own(layer: LayerParameter) -> bool:
    """OpenCV has it under the root, Caffe behind it."""
    return layer.mvn_param.normalize_variance and layer.mvn_param.HasField("eps")


def _is_across_space_with_scales(layer: LayerParameter) -> bool:
    return layer.norm_param.across_spatial and not layer.norm_param.channel_shared


_STAND_INS: Mapping[str, _StandIn] = MappingProxyType(
    {
        "Axpy": _StandIn(_axpy),
        "BN": _StandIn(_bn, "bn_param"),
        "Interp": _StandIn(_interp, "interp_param", _cuts_or_shrinks),
        "LRN": _StandIn(_lrn, "lrn_param", _has_another_k),
        "MVN": _StandIn(_mvn, "mvn_param", _has_eps_of_its_own),
        "Normalize": _StandIn(_normalize, "norm_param", _is_across_space_with_scales),
        "Reduction": _StandIn(_reduction, "reduction_param", _keeps_two_dimensions),
        "Reorg": _StandIn(_reorg, "reorg_param"),
        "Tile": _StandIn(_tile, "tile_param"),
        "Upsample": _StandIn(_upsample, "upsample_param", _no_mask),
    }
)

_CLASSES: Mapping[str, type] = MappingProxyType(
    {name: _layer_class(stand_in.formula) for name, stand_in in _STAND_INS.items()}
)
"""NOTE: held here, as OpenCV does not hold the classes that it is told of."""
