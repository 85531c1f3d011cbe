"""Networks written before 2014-12: their `layers` (V1) as today's `layer`."""

from __future__ import annotations

from itertools import zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING

from exporters.caffe.schema import schema
from runtime.errors import GraphError

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter, NetParameter, V1LayerParameter

TYPE_NAMES = MappingProxyType(
    {
        "ABSVAL": "AbsVal",
        "ACCURACY": "Accuracy",
        "ARGMAX": "ArgMax",
        "BNLL": "BNLL",
        "CONCAT": "Concat",
        "CONTRASTIVE_LOSS": "ContrastiveLoss",
        "CONVOLUTION": "Convolution",
        "DATA": "Data",
        "DECONVOLUTION": "Deconvolution",
        "DROPOUT": "Dropout",
        "DUMMY_DATA": "DummyData",
        "ELTWISE": "Eltwise",
        "EUCLIDEAN_LOSS": "EuclideanLoss",
        "EXP": "Exp",
        "FLATTEN": "Flatten",
        "HDF5_DATA": "HDF5Data",
        "HDF5_OUTPUT": "HDF5Output",
        "HINGE_LOSS": "HingeLoss",
        "IM2COL": "Im2col",
        "IMAGE_DATA": "ImageData",
        "INFOGAIN_LOSS": "InfogainLoss",
        "INNER_PRODUCT": "InnerProduct",
        "LRN": "LRN",
        "MEMORY_DATA": "MemoryData",
        "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
        "MVN": "MVN",
        "POOLING": "Pooling",
        "POWER": "Power",
        "RELU": "ReLU",
        "SIGMOID": "Sigmoid",
        "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
        "SILENCE": "Silence",
        "SLICE": "Slice",
        "SOFTMAX": "Softmax",
        "SOFTMAX_LOSS": "SoftmaxWithLoss",
        "SPLIT": "Split",
        "TANH": "TanH",
        "THRESHOLD": "Threshold",
        "WINDOW_DATA": "WindowData",
    }
)
"""V1's enumerated types as the names that replaced them."""

_TRAINING_ONLY = frozenset({"blobs_lr", "weight_decay"})
_SHARING = frozenset({"param", "blob_share_mode"})
"""Lists of names and of modes, which became one list of both."""


def layers(net: NetParameter) -> list[LayerParameter]:
    """The network's layers in today's form, whichever form it was written in.

    Raises GraphError when both forms are mixed, as Caffe does.
    """
    if net.layer and net.layers:
        raise GraphError(
            f"the prototxt has {len(net.layer)} 'layer' and {len(net.layers)} 'layers';"
            " Caffe allows one form only: rename the old ones and their types"
        )
    return list(net.layer) or [_upgraded(layer) for layer in net.layers]


def _upgraded(old: V1LayerParameter) -> LayerParameter:
    new: LayerParameter = schema().LayerParameter()
    for field, value in old.ListFields():
        if field.name == "layer":
            raise GraphError(
                f"layer {value.name!r} has the form of 2013 ('layers {{ layer {{'); pass the prototxt"
                " through Caffe's upgrade_net_proto_text first"
            )
        if field.name == "type":
            new.type = TYPE_NAMES.get(old.LayerType.Name(value), "")
        elif field.name not in _TRAINING_ONLY | _SHARING:
            _copy(field.name, value, new)
    for name, mode in zip_longest(old.param, old.blob_share_mode):
        new.param.add(name=name, share_mode=mode)
    return new


def _copy(name: str, value: object, new: LayerParameter) -> None:
    """Fields that both forms have go by the same name, under another number."""
    if isinstance(value, str):
        setattr(new, name, value)
    elif hasattr(value, "ListFields"):
        getattr(new, name).CopyFrom(value)
    else:
        getattr(new, name).MergeFrom(value)
