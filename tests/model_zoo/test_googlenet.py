"""GoogLeNet's description.

Oracles: the tables of MODELS.md 3, and the counts of BVLC's file in CAFFE.md 6.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from model_zoo.catalog import get_model
from model_zoo.googlenet_layers import Sizes, caffe_network, tensorflow_network
from model_zoo.layers import (
    SAME,
    Convolution,
    LocalResponse,
    Pool,
    Softmax,
)
from model_zoo.layers_caffe import prototxt
from model_zoo.network import Network
from model_zoo.spec import Split

CAFFE = caffe_network(Sizes())
TENSORFLOW = tensorflow_network(Sizes())


@pytest.mark.parametrize("network", [CAFFE, TENSORFLOW], ids=["caffe", "tensorflow"])
def test_counts_are_those_of_models_md(network: Network) -> None:
    assert network.parameters == 6_998_552
    assert network.macs == 1_582_671_872


@pytest.mark.parametrize("network", [CAFFE, TENSORFLOW], ids=["caffe", "tensorflow"])
def test_feature_maps_are_those_of_models_md(network: Network) -> None:
    stages = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    outputs = [network.maps[f"inception_{stage}/output"] for stage in stages]
    assert [output.channels for output in outputs] == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    assert [output.height for output in outputs] == [28, 28, 14, 14, 14, 14, 14, 7, 7]
    assert network.maps["conv1/7x7_s2"].height == 112
    assert network.maps["conv2/3x3"].height == 56


def test_prototxt_has_the_layers_of_the_original() -> None:
    from exporters.caffe.reading import read_prototxt

    net = read_prototxt(prototxt(CAFFE))
    kinds = Counter(layer.type for layer in net.layer)
    assert kinds == {
        "Convolution": 57,
        "ReLU": 57,
        "Pooling": 14,
        "LRN": 2,
        "Concat": 9,
        "Dropout": 1,
        "InnerProduct": 1,
        "Softmax": 1,
    }
    pads = Counter(tuple(layer.convolution_param.pad) for layer in net.layer if layer.type == "Convolution")
    assert pads == {(3,): 1, (2,): 9, (1,): 10, (): 37}


def test_prototxt_says_what_the_original_says() -> None:
    from exporters.caffe.reading import read_prototxt

    layers = {layer.name: layer for layer in read_prototxt(prototxt(CAFFE)).layer}
    module = "inception_3a"
    branches = ["1x1", "3x3", "5x5", "pool_proj"]
    assert list(layers[f"{module}/output"].bottom) == [f"{module}/{branch}" for branch in branches]
    assert list(layers[f"{module}/relu_5x5"].top) == [f"{module}/5x5"]  # in place
    assert list(layers[f"{module}/5x5"].bottom) == [f"{module}/5x5_reduce"]
    assert list(layers["inception_4a/pool"].bottom) == ["pool3/3x3_s2"]
    assert layers["pool1/3x3_s2"].pooling_param.pad == 0
    norm = layers["pool1/norm1"].lrn_param
    assert (norm.local_size, norm.beta, norm.k) == (5, 0.75, 1)
    assert norm.alpha == pytest.approx(1e-4)
    assert list(layers["conv2/norm2"].bottom) == ["conv2/3x3"]
    assert layers["pool5/drop_7x7_s1"].dropout_param.dropout_ratio == pytest.approx(0.4)
    assert list(layers["loss3/classifier"].bottom) == ["pool5/7x7_s1"]


def test_tensorflow_has_no_local_response_normalisation_no_softmax_and_its_own_padding() -> None:
    assert not any(isinstance(layer, LocalResponse | Softmax) for layer in TENSORFLOW.layers)
    first = next(layer for layer in TENSORFLOW.layers if isinstance(layer, Convolution))
    assert first.padding == SAME
    between = [layer for layer in TENSORFLOW.layers if isinstance(layer, Pool) and layer.stride == 2]
    assert [pool.padding for pool in between] == [SAME] * 4


def test_frameworks_share_their_tensors() -> None:
    assert CAFFE.tensors() == TENSORFLOW.tensors()


def test_feeds_are_preprocessed_as_each_framework_wants() -> None:
    feeds = get_model("googlenet").variants[""].feeds
    images = next(feeds("tensorflow").batches(1, Split.EVALUATION))["images"]
    data = next(feeds("caffe").batches(1, Split.EVALUATION))["data"]
    blue_green_red = images[..., ::-1] - np.array([104, 117, 123], np.float32)
    np.testing.assert_array_equal(data, blue_green_red.transpose(0, 3, 1, 2))
