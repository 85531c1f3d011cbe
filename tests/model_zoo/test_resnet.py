"""The description, and what the two frameworks make of it.

Oracles: the counts of MODELS.md and CAFFE.md, and for the networks each other: TensorFlow against OpenCV's
Caffe importer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from model_zoo.catalog import get_model
from model_zoo.resnet import RESNET50, RESNET101, ResNet
from model_zoo.resnet_caffe import caffe_source, caffemodel, prototxt
from model_zoo.resnet_tensorflow import tensorflow_source
from model_zoo.resnet_weights import weights_of
from model_zoo.spec import Split
from runtime.errors import UsageError
from runtime.tensors import Array, TensorSpec
from tests.model_zoo.resnet_relative import RELATIVE

Weights = Mapping[str, Array]

# float32 sums of up to 2048 products in another order, twenty layers deep
LOGITS_TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def weights() -> Weights:
    return weights_of(RELATIVE, None)


@pytest.fixture(scope="module")
def images() -> Array:
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (3, RELATIVE.input_size, RELATIVE.input_size, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("network", "tensorflow", "caffe", "macs"),
    [
        (RESNET50, 25_557_032, 25_557_096, 3_857_973_248),
        (RESNET101, 44_549_160, 44_549_160, 7_570_194_432),
    ],
    ids=["resnet50", "resnet101"],
)
def test_counts_are_those_of_models_md(network: ResNet, tensorflow: int, caffe: int, macs: int) -> None:
    assert network.parameters(stem_bias=False) == tensorflow
    assert network.parameters(stem_bias=network.stem_bias) == caffe
    assert network.macs == macs


def test_shapes_add_up_to_the_parameters_and_the_statistics() -> None:
    sizes = {name: int(np.prod(shape)) for name, shape in RESNET50.shapes().items()}
    learned = sum(size for name, size in sizes.items() if "moving" not in name)
    assert learned == 25_557_032
    assert sum(sizes.values()) - learned == 2 * 26_560  # as in keras.applications: 53,120 not trainable


def test_stride_is_on_the_first_convolution_and_the_projection() -> None:
    strided = [part.name for part in RESNET50.convolutions if part.stride == 2]
    stages = [f"res{stage}a_{branch}" for stage in (3, 4, 5) for branch in ("branch1", "branch2a")]
    assert strided == ["conv1", *stages]


def test_blocks_have_the_authors_names() -> None:
    names = {network.name: [block.name for block in network.blocks] for network in (RESNET50, RESNET101)}
    assert names["resnet50"][3:9] == ["res3a", "res3b", "res3c", "res3d", "res4a", "res4b"]
    assert names["resnet101"][:7] == ["res2a", "res2b", "res2c", "res3a", "res3b1", "res3b2", "res3b3"]
    assert names["resnet101"][-5:] == ["res4b21", "res4b22", "res5a", "res5b", "res5c"]


def test_only_the_first_block_of_a_stage_has_a_projection() -> None:
    projected = [block.name for block in RESNET101.blocks if block.projection]
    assert projected == ["res2a", "res3a", "res4a", "res5a"]


def test_an_input_size_that_pools_unevenly_is_refused() -> None:
    with pytest.raises(UsageError, match=r"input size 100 of odd: must be a multiple of 32"):
        ResNet("odd", (1, 1, 1, 1), input_size=100)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (RESNET50, {"Convolution": 53, "BatchNorm": 53, "Scale": 53, "ReLU": 49, "Eltwise": 16}),
        (RESNET101, {"Convolution": 104, "BatchNorm": 104, "Scale": 104, "ReLU": 100, "Eltwise": 33}),
    ],
    ids=["resnet50", "resnet101"],
)
def test_prototxt_has_the_layers_of_the_original(network: ResNet, expected: dict[str, int]) -> None:
    """CAFFE.md 6 counts the authors' files."""
    from exporters.caffe.reading import read_prototxt

    net = read_prototxt(prototxt(network))
    kinds = Counter(layer.type for layer in net.layer)
    assert kinds == {**expected, "Pooling": 2, "InnerProduct": 1, "Softmax": 1}
    assert [list(shape.dim) for shape in net.input_shape] == [[1, 3, 224, 224]]


def test_prototxt_says_what_the_original_says() -> None:
    from exporters.caffe.reading import read_prototxt

    layers = {layer.name: layer for layer in read_prototxt(prototxt(RESNET50)).layer}
    conv1 = layers["conv1"].convolution_param
    assert (list(conv1.kernel_size), list(conv1.pad), list(conv1.stride)) == ([7], [3], [2])
    assert conv1.bias_term
    assert not layers["res2a_branch2a"].convolution_param.bias_term
    assert layers["bn2a_branch2a"].batch_norm_param.use_global_stats
    assert not layers["bn2a_branch2a"].batch_norm_param.HasField("eps")
    assert list(layers["scale2a_branch2a"].top) == ["res2a_branch2a"]  # in place
    assert list(layers["res2b"].bottom) == ["res2a", "res2b_branch2c"]
    assert layers["pool1"].pooling_param.pad == 0
    assert layers["pool5"].pooling_param.kernel_size == 7


def test_prototxt_of_resnet101_has_no_bias_in_conv1() -> None:
    from exporters.caffe.reading import read_prototxt

    biased = [
        layer.name
        for layer in read_prototxt(prototxt(RESNET101)).layer
        if layer.type == "Convolution" and layer.convolution_param.bias_term
    ]
    assert biased == []


def test_sources_have_the_agreed_inputs_outputs_and_parameters(weights: Weights) -> None:
    tensorflow, caffe = tensorflow_source(RELATIVE, weights), caffe_source(RELATIVE, weights)
    assert tensorflow.inputs == (TensorSpec("images", "float32", ("batch", 64, 64, 3)),)
    assert tensorflow.outputs == (TensorSpec("logits", "float32", ("batch", 10)),)
    assert caffe.inputs == (TensorSpec("data", "float32", ("batch", 3, 64, 64)),)
    assert caffe.outputs == (TensorSpec("prob", "float32", ("batch", 10)),)
    assert tensorflow.parameters == RELATIVE.parameters(stem_bias=False)
    assert caffe.parameters == RELATIVE.parameters(stem_bias=True)


def test_the_frameworks_agree_on_the_same_weights_and_input(weights: Weights, images: Array) -> None:
    """Both see (x - 127.5) / 127.5, zero padded: Caffe's own mean would be another preprocessing."""
    logits = tensorflow_source(RELATIVE, weights).run({"images": images})["logits"]
    prob = caffe_source(RELATIVE, weights).run({"data": _caffe_input(images)})["prob"]
    np.testing.assert_allclose(_centred(np.log(prob)), _centred(logits), atol=LOGITS_TOLERANCE)


def test_epsilons_are_made_up_for_where_they_matter(weights: Weights, images: Array) -> None:
    """With variances near the epsilons, 1e-5 in place of 1e-4 would double what a layer gives."""
    tiny = {
        name: np.full_like(array, 5e-5) if name.endswith("moving_variance") else array
        for name, array in weights.items()
    }
    tiny = {name: array * 0.01 if name.endswith("gamma") else array for name, array in tiny.items()}
    logits = tensorflow_source(RELATIVE, tiny).run({"images": images})["logits"]
    prob = caffe_source(RELATIVE, tiny).run({"data": _caffe_input(images)})["prob"]
    np.testing.assert_allclose(_centred(np.log(prob)), _centred(logits), atol=LOGITS_TOLERANCE)


def test_another_mean_is_another_function(weights: Weights, images: Array) -> None:
    """The tolerance above can fail: the mean that ai-matrix subtracts changes the logits by far more."""
    caffe = caffe_source(RELATIVE, weights)
    theirs = images - np.array([123.68, 116.78, 103.94], np.float32)
    different = caffe.run({"data": _bgr(theirs)})["prob"]
    same = caffe.run({"data": _caffe_input(images)})["prob"]
    assert np.abs(np.log(different) - np.log(same)).max() > 50 * LOGITS_TOLERANCE


def test_the_bias_of_conv1_changes_nothing(weights: Weights, images: Array) -> None:
    unbiased = {name: array for name, array in weights.items() if name != "conv1/bias"}
    assert np.abs(weights["conv1/bias"]).max() > 0.01
    feed = {"data": _caffe_input(images)}
    with_bias = caffe_source(RELATIVE, weights).run(feed)["prob"]
    without = caffe_source(RELATIVE, unbiased).run(feed)["prob"]
    np.testing.assert_allclose(with_bias, without, rtol=1e-3)
    assert caffe_source(RELATIVE, unbiased).parameters == RELATIVE.parameters(stem_bias=True)


def test_tensorflow_normalises_with_its_own_epsilon_and_pads_like_caffe(weights: Weights) -> None:
    import tensorflow as tf

    from exporters.tensorflow import TensorFlowSource

    source = tensorflow_source(RELATIVE, weights)
    assert isinstance(source, TensorFlowSource)
    images = tf.TensorSpec((None, 64, 64, 3), tf.float32)
    nodes = tf.function(source.function).get_concrete_function(images).graph.as_graph_def().node
    assert {round(node.attr["epsilon"].f, 7) for node in nodes if node.op == "FusedBatchNormV3"} == {1e-4}
    convolutions = [node for node in nodes if node.op == "Conv2D"]
    assert [node.name for node in convolutions] == [part.name for part in RELATIVE.convolutions]
    conv1 = convolutions[0]
    assert list(conv1.attr["explicit_paddings"].list.i) == [0, 0, 3, 3, 3, 3, 0, 0]


def test_equal_weights_give_equal_caffemodels(weights: Weights) -> None:
    assert caffemodel(RELATIVE, weights) == caffemodel(RELATIVE, dict(reversed(list(weights.items()))))


@pytest.mark.heavy
@pytest.mark.parametrize("network", [RESNET50, RESNET101], ids=lambda network: network.name)
def test_the_reference_networks_agree_too(network: ResNet) -> None:
    weights = weights_of(network, None)
    feeds = get_model(network.name).variants[""].feeds("tensorflow")  # white noise drives a softmax to 0
    images = next(feeds.batches(4, Split.EVALUATION))["images"]
    logits = tensorflow_source(network, weights).run({"images": images})["logits"]
    prob = caffe_source(network, weights).run({"data": _caffe_input(images)})["prob"]
    # 50 or 101 layers; the logits reach 20
    np.testing.assert_allclose(_centred(np.log(prob)), _centred(logits), atol=10 * LOGITS_TOLERANCE)


def _caffe_input(images: Array) -> Array:
    return _bgr(images - np.float32(127.5))


def _bgr(images: Array) -> Array:
    return np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2))


def _centred(logits: Array) -> Array:
    """A softmax does not tell what was added to all logits of a sample."""
    centred: Array = logits - logits.mean(axis=1, keepdims=True)
    return centred
