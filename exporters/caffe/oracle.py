"""OpenCV's Caffe importer as the source framework: what a network answers, from code that is not ours.

OpenCV is not Caffe everywhere. What can be said so that it computes what Caffe computes is said so here;
what cannot is refused.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from exporters.caffe import oracle_forks, oracle_layers
from exporters.caffe.phases import included
from exporters.caffe.reading import read_prototxt
from runtime.errors import UnavailableError
from runtime.tensors import Array, Feed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from google.protobuf.message import Message

    from exporters.caffe.caffe_pb2 import LayerParameter, NetParameter
    from exporters.caffe.network import Layer, Network


class Oracle:
    """One network in OpenCV, on the CPU; raises UnavailableError where OpenCV cannot hold or run it."""

    def __init__(self, prototxt: str, caffemodel: bytes | memoryview | Path, network: Network) -> None:
        self._cv2 = _opencv()
        oracle_layers.register(self._cv2)
        oracle_forks.register(self._cv2)
        self._network = network
        self._names = _opencv_names(network.layers)
        _refuse_fused_batch_norms(network.layers)
        text = _for_opencv(_only(read_prototxt(prototxt), network)).encode()
        try:
            net = _read(self._cv2, text, caffemodel)
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
        sources = {top: self._before_splits(top) for top in self._network.outputs}
        makers = {top: layer for layer in self._network.layers for top in layer.tops}
        # NOTE: asked for a blob, OpenCV gives its value before in-place layers; asked for a layer, its own.
        asked = [blob for blob in dict.fromkeys(sources.values()) if blob in makers]
        _refuse_regions_of_no_image(self._network, feed)
        try:
            for name in _read_inputs(self._network):
                self._net.setInput(np.ascontiguousarray(feed[name]), name)
            answers = self._tops([makers[blob] for blob in asked])
        except self._cv2.error as error:
            raise _refused(error) from error
        found = dict(feed)
        for blob, tops in zip(asked, answers, strict=True):
            found[blob] = _as_caffe(makers[blob], tops[makers[blob].tops.index(blob)])
        return {top: self._without_filling(found[blob]) for top, blob in sources.items()}

    def _without_filling(self, answer: Array) -> Array:
        """Only the rows of regions that are some (see oracle_layers.Proposal)."""
        proposing = any(_is_proposal(layer) for layer in self._network.layers)
        real = oracle_layers.Proposal.real
        return answer[real] if proposing and len(answer) == len(real) else answer

    def _tops(self, layers: Sequence[Layer]) -> list[list[Array]]:
        """The tops of each layer, copied: OpenCV hands out its own memory.

        Layers with several are asked one by one: those that follow write over all tops but the first.
        """
        names = [self._names[layer.tops[0]] for layer in layers]
        alone = [name for name, layer in zip(names, layers, strict=True) if len(layer.tops) > 1]
        together = [name for name in names if name not in alone]
        found: dict[str, list[Array]] = {}
        for group in ([together] if together else []) + [[name] for name in dict.fromkeys(alone)]:
            answers = self._net.forwardAndRetrieve(group)
            found |= {
                name: [np.array(top) for top in tops] for name, tops in zip(group, answers, strict=True)
            }
        return [found[name] for name in names]

    def _before_splits(self, blob: str) -> str:
        """The blob that `blob` is a copy of: OpenCV writes over all copies but the first."""
        split_from = {
            top: layer.bottoms[0]
            for layer in self._network.layers
            if layer.type == "Split"
            for top in layer.tops
        }
        while blob in split_from:
            blob = split_from[blob]
        return blob


def _read(cv2: ModuleType, text: bytes, caffemodel: bytes | memoryview | Path) -> Any:
    """Both files from memory, of which OpenCV makes a copy first; or from disk, which spares the copy."""
    if not isinstance(caffemodel, Path):
        return cv2.dnn.readNetFromCaffe(np.frombuffer(text, np.uint8), np.frombuffer(caffemodel, np.uint8))
    with tempfile.TemporaryDirectory() as folder:
        prototxt = Path(folder) / "net.prototxt"
        prototxt.write_bytes(text)
        return cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))


def _as_caffe(layer: Layer, answer: Array) -> Array:
    """OpenCV lists detections by score alone, and fills up with rows of zeros where there are none."""
    if layer.type != "DetectionOutput":
        return answer
    rows = answer.reshape(-1, 7)
    rows = rows[rows.any(axis=1)]
    order = np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))
    return rows[order][np.newaxis, np.newaxis]


def _only(net: NetParameter, network: Network) -> NetParameter:
    """The part of the prototxt that `network` holds: without its post-processing it holds less.

    An input that nothing reads goes, too: OpenCV cannot have one.
    """
    held = {layer.name for layer in network.layers}
    fed = set(_read_inputs(network))
    for layers in (net.layer, net.layers):
        for index in reversed(range(len(layers))):
            if layers[index].name not in held and not fed.intersection(layers[index].top):
                del layers[index]
    for index in reversed(range(len(net.input))):
        if net.input[index] not in fed:
            del net.input[index]
            del net.input_shape[index : index + 1]
            del net.input_dim[4 * index : 4 * index + 4]
    return net


def _read_inputs(network: Network) -> list[str]:
    read = {bottom for layer in network.layers for bottom in layer.bottoms}
    return [blob.name for blob in network.inputs if blob.name in read]


def _refuse_regions_of_no_image(network: Network, feed: Feed) -> None:
    """OpenCV looks for the pixels of an image that is not in the batch all the same, and can crash."""
    for layer in network.layers:
        if layer.type in _OF_REGIONS and layer.bottoms[1] in feed:
            images = np.trunc(feed[layer.bottoms[1]].reshape(-1, _REGION)[:, 0])
            batch = min(len(array) for name, array in feed.items() if name != layer.bottoms[1])
            if images.min(initial=0) < 0 or images.max(initial=0) >= batch:
                raise _refused(
                    f"{layer.bottoms[1]!r} has regions of images {images.min():g} to {images.max():g},"
                    f" the batch has 0 to {batch - 1}"
                )


def _refuse_fused_batch_norms(layers: Sequence[Layer]) -> None:
    for layer in layers:
        if layer.type == "BatchNorm" and len(layer.blobs) > _STATISTICS:
            raise _refused(f"it does not know the scale and bias of the BatchNorm layer {layer.name!r}")


def _opencv_names(layers: Sequence[Layer]) -> dict[str, str]:
    """What OpenCV 4 calls the maker of each top.

    It is the layer's name, with a number where it is not the first of that name; a Convolution has its top's.
    """
    seen: Counter[str] = Counter()
    names: dict[str, str] = {}
    for layer in layers:
        name = f"{layer.name}_{seen[layer.name]}" if seen[layer.name] else layer.name
        seen[layer.name] += 1
        plain = _PLAIN.get(layer.type, layer.type)
        names |= {top: str(layer.parameter.top[0]) if plain == "Convolution" else name for top in layer.tops}
    return names


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise UnavailableError(
            f"checking a Caffe network needs OpenCV 4 ({error}); pip install '.[export]' in the clone"
        ) from error
    if int(cv2.__version__.split(".")[0]) >= 5:
        raise UnavailableError(
            f"OpenCV {cv2.__version__} has no Caffe importer any more, version 4 has;"
            " pip install '.[export]' in the clone"
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
    for layer in net.layer:
        oracle_forks.rename(layer)
    return str(text_format.MessageToString(net))


def _concat(layer: LayerParameter) -> None:
    """OpenCV knows `axis`, and its old name `concat_dim` not."""
    if layer.concat_param.HasField("concat_dim"):
        layer.concat_param.axis = layer.concat_param.concat_dim


def _slice(layer: LayerParameter) -> None:
    """OpenCV knows `axis`, and its old name `slice_dim` not."""
    if layer.slice_param.HasField("slice_dim"):
        layer.slice_param.axis = layer.slice_param.slice_dim


_OF_REGIONS = ("PSROIPooling", "ROIPooling")
_REGION = 5
"""A region's columns: image and corners."""

_STATISTICS = 3
"""How many blobs a BatchNorm has that leaves scale and bias to a Scale layer."""

_OF_SSD = 3
"""How many bottoms SSD's DetectionOutput has."""

_PLAIN = {"ConvolutionDepthwise": "Convolution", "DepthwiseConvolution": "Convolution"}


def _convolution(layer: LayerParameter) -> None:
    """OpenCV knows depthwise convolutions only as grouped ones."""
    if layer.type == "ConvolutionDepthwise":
        layer.convolution_param.group = layer.convolution_param.num_output
    layer.type = _PLAIN.get(layer.type, layer.type)
    if layer.type == "Deconvolution" and set(layer.convolution_param.dilation) - {1}:
        raise _refused(f"it gives the dilated Deconvolution {layer.name!r} a wrong shape")


def _dropout(layer: LayerParameter) -> None:
    """OpenCV does not know `scale_train`; what it means at inference is a Power layer."""
    if not layer.dropout_param.scale_train:
        layer.type = "Power"
        layer.power_param.scale = 1 - layer.dropout_param.dropout_ratio


def _pooling(layer: LayerParameter) -> None:
    """OpenCV knows DenseNet's `ceil_mode` and not BVLC's later `round_mode`, nor that MAX is the default."""
    parameter = layer.pooling_param
    parameter.pool = parameter.pool
    if parameter.round_mode == parameter.FLOOR:
        parameter.ceil_mode = False
    parameter.ClearField("round_mode")


def _detection_output(layer: LayerParameter) -> None:
    """OpenCV knows few of Caffe's defaults, so they are written out."""
    if len(layer.bottom) > _OF_SSD:
        raise _refused(f"it does not read all {len(layer.bottom)} bottoms of {layer.name!r} (RefineDet)")
    _write_defaults(layer.detection_output_param, "share_location", "background_label_id", "code_type")
    _write_defaults(layer.detection_output_param, "keep_top_k", "variance_encoded_in_target")
    _write_defaults(layer.detection_output_param.nms_param, "nms_threshold")


def _write_defaults(parameter: Message, *names: str) -> None:
    for name in names:
        setattr(parameter, name, getattr(parameter, name))


def _prior_box(layer: LayerParameter) -> None:
    """Caffe cuts box sizes down to whole pixels, OpenCV takes them as they are; and it has other defaults."""
    _write_defaults(layer.prior_box_param, "flip", "clip", "offset")
    if not layer.prior_box_param.variance:
        layer.prior_box_param.variance.append(0.1)
    for sizes in (layer.prior_box_param.min_size, layer.prior_box_param.max_size):
        sizes[:] = [int(size) for size in sizes]


def _proposal(layer: LayerParameter) -> None:
    """OpenCV's own keeps boxes below min_size, and takes one image; it knows no defaults of ours."""
    parameter = layer.proposal_param
    _write_defaults(parameter, "feat_stride", "base_size", "min_size")
    _write_defaults(parameter, "pre_nms_topn", "post_nms_topn", "nms_thresh")
    _check_bottoms(layer)
    layer.type = "aimatrix.Proposal"


def _reshape(layer: LayerParameter) -> None:
    """The first dimension is worked out: a batch that the prototxt says would be fixed."""
    dims, parameter = layer.reshape_param.shape.dim, layer.reshape_param
    if len(dims) and dims[0] > 0 and -1 not in dims and parameter.axis == 0 and parameter.num_axes < 0:
        dims[0] = -1


def _python(layer: LayerParameter) -> None:
    """A layer type of its own for each class that we have in NumPy; of the others OpenCV knows nothing."""
    name = f"{layer.python_param.module}.{layer.python_param.layer}"
    if name in oracle_layers.TYPES:
        _check_bottoms(layer)
        layer.type = name


def _check_bottoms(layer: LayerParameter) -> None:
    """NOTE: OpenCV never comes back from a layer in Python that raises."""
    if len(layer.bottom) != 3:
        raise _refused(f"layer {layer.name!r} has {len(layer.bottom)} bottoms, proposals are made of 3")


def _is_proposal(layer: Layer) -> bool:
    return layer.type == "Proposal" or layer.parameter.python_param.layer == "ProposalLayer"


_DIFFERENCES = MappingProxyType(
    {
        "concat_param": _concat,
        "convolution_param": _convolution,
        "detection_output_param": _detection_output,
        "dropout_param": _dropout,
        "pooling_param": _pooling,
        "prior_box_param": _prior_box,
        "proposal_param": _proposal,
        "python_param": _python,
        "reshape_param": _reshape,
        "slice_param": _slice,
    }
)
"""Parameter message to what must be changed or refused in a layer that has one."""
