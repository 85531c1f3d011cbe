"""OpenCV's Caffe importer as the source framework: what a network answers, from code that is not ours.

OpenCV is not Caffe everywhere. What can be said so that it computes what Caffe computes is said so here;
what cannot is refused.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from exporters.caffe.phases import included
from exporters.caffe.reading import read_prototxt
from runtime.errors import UnavailableError
from runtime.tensors import Array, Feed

if TYPE_CHECKING:
    from types import ModuleType

    from exporters.caffe.caffe_pb2 import LayerParameter, NetParameter
    from exporters.caffe.network import Layer, Network


class Oracle:
    """One network in OpenCV, on the CPU; raises UnavailableError where OpenCV cannot hold or run it."""

    def __init__(self, prototxt: str, caffemodel: bytes, network: Network) -> None:
        self._cv2 = _opencv()
        self._network = network
        text = _for_opencv(read_prototxt(prototxt)).encode()
        try:
            net = self._cv2.dnn.readNetFromCaffe(
                np.frombuffer(text, np.uint8), np.frombuffer(caffemodel, np.uint8)
            )
        except self._cv2.error as error:
            raise _refused(error) from error
        net.setPreferableBackend(self._cv2.dnn.DNN_BACKEND_OPENCV)
        net.setPreferableTarget(self._cv2.dnn.DNN_TARGET_CPU)
        # Winograd and fused batch norms round differently from what the prototxt says.
        net.enableWinograd(False)
        net.enableFusion(False)
        self._net: Any = net

    def run(self, feed: Feed) -> dict[str, Array]:
        """The network's outputs by blob name, in the shapes that OpenCV gives them."""
        makers = {top: layer for layer in self._network.layers for top in layer.tops}
        # NOTE: asked for a blob, OpenCV gives its value before in-place layers; asked for a layer, its own.
        wanted = [makers[top] for top in self._network.outputs]
        try:
            for name, array in feed.items():
                self._net.setInput(np.ascontiguousarray(array), name)
            answers = self._net.forwardAndRetrieve([_opencv_name(layer) for layer in wanted])
        except self._cv2.error as error:
            raise _refused(error) from error
        return {
            top: np.array(tops[layer.tops.index(top)])
            for top, layer, tops in zip(self._network.outputs, wanted, answers, strict=True)
        }


def _opencv_name(layer: Layer) -> str:
    """OpenCV 4 calls every layer by its name, but a Convolution by its top's."""
    return str(layer.parameter.top[0]) if layer.type == "Convolution" else layer.name


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise UnavailableError(
            f"checking a Caffe network needs OpenCV 4 ({error}); install aimatrix[caffe-oracle]"
        ) from error
    if int(cv2.__version__.split(".")[0]) >= 5:
        raise UnavailableError(
            f"OpenCV {cv2.__version__} has no Caffe importer any more, version 4 has;"
            " install aimatrix[caffe-oracle]"
        )
    module: ModuleType = cv2
    return module


def _refused(error: object) -> UnavailableError:
    reason = " ".join(str(error).split())
    return UnavailableError(f"OpenCV cannot run this Caffe network, so it cannot be checked: {reason}")


def _for_opencv(net: NetParameter) -> str:
    """The prototxt's text, with the words by which OpenCV does what Caffe does with the original ones."""
    from google.protobuf import text_format

    for layers in (net.layer, net.layers):  # OpenCV knows no phases
        for index in reversed(range(len(layers))):
            if not included(layers[index], net.state):
                del layers[index]
    for layer in (*net.layer, *net.layers):
        for field, _ in layer.ListFields():
            if field.name in _DIFFERENCES:
                _DIFFERENCES[field.name](layer)
    return str(text_format.MessageToString(net))


def _concat(layer: LayerParameter) -> None:
    """OpenCV knows `axis`, and its old name `concat_dim` not."""
    if layer.concat_param.HasField("concat_dim"):
        layer.concat_param.axis = layer.concat_param.concat_dim


def _slice(layer: LayerParameter) -> None:
    """OpenCV knows `axis`, and its old name `slice_dim` not."""
    if layer.slice_param.HasField("slice_dim"):
        layer.slice_param.axis = layer.slice_param.slice_dim


def _convolution(layer: LayerParameter) -> None:
    if layer.type == "Deconvolution" and set(layer.convolution_param.dilation) - {1}:
        raise _refused(f"it gives the dilated Deconvolution {layer.name!r} a wrong shape")


def _dropout(layer: LayerParameter) -> None:
    """OpenCV does not know `scale_train`; what it means at inference is a Power layer."""
    if not layer.dropout_param.scale_train:
        layer.type = "Power"
        layer.power_param.scale = 1 - layer.dropout_param.dropout_ratio


def _lrn(layer: LayerParameter) -> None:
    parameter = layer.lrn_param
    if parameter.norm_region == parameter.ACROSS_CHANNELS and parameter.k != 1:
        raise _refused(f"it ignores k = {parameter.k:g} of the LRN layer {layer.name!r}")


def _normalize(layer: LayerParameter) -> None:
    if layer.norm_param.across_spatial and not layer.norm_param.channel_shared:
        raise _refused(f"it cannot normalise {layer.name!r} across space with a scale for each channel")


def _pooling(layer: LayerParameter) -> None:
    """OpenCV knows DenseNet's `ceil_mode` and not BVLC's later `round_mode`, nor that MAX is the default."""
    parameter = layer.pooling_param
    parameter.pool = parameter.pool
    if parameter.round_mode == parameter.FLOOR:
        parameter.ceil_mode = False
    parameter.ClearField("round_mode")


def _prior_box(layer: LayerParameter) -> None:
    """Caffe cuts box sizes down to whole pixels, OpenCV takes them as they are."""
    for sizes in (layer.prior_box_param.min_size, layer.prior_box_param.max_size):
        sizes[:] = [int(size) for size in sizes]


_DIFFERENCES = MappingProxyType(
    {
        "concat_param": _concat,
        "convolution_param": _convolution,
        "dropout_param": _dropout,
        "lrn_param": _lrn,
        "norm_param": _normalize,
        "pooling_param": _pooling,
        "prior_box_param": _prior_box,
        "slice_param": _slice,
    }
)
"""Parameter message to what must be changed or refused in a layer that has one."""
