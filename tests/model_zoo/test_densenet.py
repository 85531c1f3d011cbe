"""The three networks called DenseNet-121.

Oracles: MODELS.md 5, and the counts of shicai's file in CAFFE.md 6.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from model_zoo.catalog import get_model
from model_zoo.densenet_layers import (
    AIMATRIX,
    Sizes,
    aimatrix_network,
    shipped_network,
    standard_network,
    tensorflow_network,
)
from model_zoo.layers import (
    BatchNorm,
    Convolution,
    FeatureMap,
    Relu,
)
from model_zoo.layers_caffe import caffe_source, prototxt
from model_zoo.layers_tensorflow import tensorflow_source
from model_zoo.layers_weights import weights_of
from model_zoo.network import Network
from model_zoo.spec import Split
from runtime.errors import UsageError
from tests.model_zoo.layers_relatives import (
    DENSENET,
    DENSENET_SHIPPED,
    DENSENET_TENSORFLOW,
    channels_first,
    noise,
    weights_of_relative,
)

STANDARD, SHIPPED = standard_network(Sizes()), shipped_network(Sizes())
IN_TENSORFLOW = tensorflow_network(Sizes())
ONLY_THREE_BLOCKS = aimatrix_network(AIMATRIX)


@pytest.mark.parametrize(
    ("network", "parameters", "macs", "pooled"),
    [
        (STANDARD, 7_978_856, 2_834_161_664, [56, 28, 14, 7]),
        (SHIPPED, 7_978_856, 3_063_058_432, [57, 29, 15, 8]),
        (ONLY_THREE_BLOCKS, 4_898_024, 1_388_989_632, [54, 27, 13, 6]),
    ],
    ids=lambda value: value.name if isinstance(value, Network) else "",
)
def test_counts_and_sizes_are_those_of_models_md(
    network: Network, parameters: int, macs: int, pooled: list[int]
) -> None:
    assert network.parameters == parameters
    assert network.macs == macs
    assert [network.maps[f"pool{number}"].height for number in (1, 2, 3, 4)] == pooled


def test_blocks_have_the_channels_of_the_paper() -> None:
    blocks = [STANDARD.maps[f"concat_{name}"].channels for name in ("2_6", "3_12", "4_24", "5_16")]
    halved = [STANDARD.maps[f"conv{stage}_blk"].channels for stage in (2, 3, 4)]
    assert blocks == [256, 512, 1024, 1024]
    assert halved == [128, 256, 512]


def test_prototxt_has_the_layers_of_the_original() -> None:
    from exporters.caffe.reading import read_prototxt

    net = read_prototxt(prototxt(STANDARD))
    assert Counter(layer.type for layer in net.layer) == {
        "Convolution": 121,
        "BatchNorm": 121,
        "Scale": 121,
        "ReLU": 121,
        "Concat": 58,
        "Pooling": 5,
    }
    layers = {layer.name: layer for layer in net.layer}
    assert list(layers["conv2_1/x1/bn"].bottom) == ["pool1"]
    assert list(layers["conv2_1/x1/scale"].top) == ["conv2_1/x1/bn"]  # in place, the normalisation is not
    assert list(layers["conv2_1/x1"].bottom) == ["conv2_1/x1/bn"]
    assert list(layers["concat_2_2"].bottom) == ["concat_2_1", "conv2_2/x2"]
    assert list(layers["conv5_blk/bn"].bottom) == ["concat_5_16"]
    assert layers["pool5"].pooling_param.global_pooling
    assert layers["fc6"].convolution_param.bias_term
    assert not layers["conv1"].convolution_param.bias_term
    assert layers["conv1/bn"].batch_norm_param.eps == pytest.approx(1e-5)


def test_only_the_authors_file_says_ceil_mode_and_only_ai_matrix_ends_in_a_softmax() -> None:
    from exporters.caffe.reading import read_prototxt

    ours, shipped = (read_prototxt(prototxt(network)).layer for network in (STANDARD, SHIPPED))
    said = [layer.name for layer in ours if layer.pooling_param.HasField("ceil_mode")]
    assert said == ["pool1"]
    assert not any(layer.pooling_param.HasField("ceil_mode") for layer in shipped)
    assert (ours[-1].name, shipped[-1].name) == ("fc6", "prob")


def test_standard_and_shipped_have_the_same_weights() -> None:
    assert STANDARD.tensors() == SHIPPED.tensors()
    assert STANDARD.statistics == SHIPPED.statistics


def test_rounding_up_is_another_function_of_the_same_weights() -> None:
    weights, data = weights_of_relative(DENSENET), channels_first(noise(DENSENET))
    logits = caffe_source(DENSENET, weights).run({"data": data})["fc6"]
    prob = caffe_source(DENSENET_SHIPPED, weights).run({"data": data})["prob"]
    assert logits.shape == prob.shape == (2, 10, 1, 1)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(prob - softmax).max() > 1e-3


def test_the_network_of_ai_matrix_normalises_behind_every_convolution() -> None:
    """Its dense layers do so on both sides of a convolution (MODELS.md 5.2)."""
    read_by = {layer.bottoms[0]: layer for layer in ONLY_THREE_BLOCKS.layers}
    convolutions = [layer for layer in ONLY_THREE_BLOCKS.layers if isinstance(layer, Convolution)]
    assert len(convolutions) == 1 + 2 * 42 + 3
    for convolution in convolutions:
        normalisation = read_by[convolution.name]
        assert isinstance(normalisation, BatchNorm)
        assert normalisation.epsilon == 1e-4
        assert isinstance(read_by[normalisation.name], Relu)
    assert ONLY_THREE_BLOCKS.maps["conv1"] == FeatureMap(64, 109, 109)
    widths = [ONLY_THREE_BLOCKS.maps[f"conv{stage}_blk"].channels for stage in (2, 3, 4)]
    assert widths == [192, 576, 1344]


def test_feeds_are_centred_and_scaled_for_caffe() -> None:
    variants = get_model("densenet121").variants
    images = next(variants["aimatrix"].feeds("tensorflow").batches(1, Split.EVALUATION))["images"]
    data = next(variants[""].feeds("caffe").batches(1, Split.EVALUATION))["data"]
    expected = (images[..., ::-1] - np.array([103.94, 116.78, 123.68], np.float32)) * np.float32(0.017)
    np.testing.assert_allclose(data, expected.transpose(0, 3, 1, 2), rtol=1e-6)


def test_feeds_of_a_framework_it_is_not_in_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown framework of densenet121 'tensorflow': valid: caffe"):
        get_model("densenet121").variants["as-shipped"].feeds("tensorflow")


def test_the_standard_network_in_tensorflow_is_fed_and_counts_as_in_caffe() -> None:
    variant = get_model("densenet121").variants[""]
    assert list(variant.build) == ["caffe", "tensorflow"]
    assert variant.counts["tensorflow"] == variant.counts["caffe"]
    assert (IN_TENSORFLOW.parameters, IN_TENSORFLOW.macs) == (7_978_856, 2_834_161_664)
    images = next(variant.feeds("tensorflow").batches(2, Split.EVALUATION))["images"]
    data = next(variant.feeds("caffe").batches(2, Split.EVALUATION))["data"]
    np.testing.assert_array_equal(channels_first(images[..., ::-1]), data)


def test_the_standard_network_is_one_function_in_both_frameworks() -> None:
    """Of the same photographs' colours in either order, with seeded weights."""
    ours, caffe = weights_of(IN_TENSORFLOW, None), weights_of(STANDARD, None)
    assert {name: array.shape for name, array in ours.items()} == IN_TENSORFLOW.tensors()
    np.testing.assert_array_equal(ours["conv1/kernel"], caffe["conv1/kernel"][:, :, ::-1])
    for name in ours.keys() - {"conv1/kernel"}:
        np.testing.assert_array_equal(ours[name], caffe[name].reshape(ours[name].shape))


def test_a_relative_answers_in_tensorflow_as_opencv_does() -> None:
    weights, images = dict(weights_of_relative(DENSENET)), noise(DENSENET)
    logits = caffe_source(DENSENET, weights).run({"data": channels_first(images)})["fc6"]
    weights["conv1/kernel"] = np.ascontiguousarray(weights["conv1/kernel"][:, :, ::-1])
    weights["fc6/kernel"] = weights["fc6/kernel"][0, 0]
    source = tensorflow_source(DENSENET_TENSORFLOW, weights)
    ours = source.run({"images": np.ascontiguousarray(images[..., ::-1])})["logits"]
    np.testing.assert_allclose(ours, logits[:, :, 0, 0], atol=2e-4)
    assert ours.std() > 0.02


def test_weights_of_the_standard_network_are_the_shipped_ones_too() -> None:
    standard, shipped = weights_of(STANDARD, None), weights_of(SHIPPED, None)
    assert standard.keys() == shipped.keys()
    for name in ("conv1/kernel", "conv5_16/x1/bn/moving_variance", "fc6/kernel"):
        np.testing.assert_array_equal(standard[name], shipped[name])
