"""SSD, DSSD and Faster R-CNN as layers, and in Caffe.

Oracles: the counts of MODELS.md 6 to 8 and 10, the layers and parameters of the originals in CAFFE.md 6, and
OpenCV.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from exporters.caffe.caffe_pb2 import LayerParameter
from exporters.caffe.reading import read_prototxt
from exporters.caffe.source import CaffeSource
from exporters.export import export
from model_zoo.catalog import get_model, get_variant
from model_zoo.detection import SINGLE_SHOT as SINGLE_SHOT_TASK
from model_zoo.detection_layers import Detections
from model_zoo.dssd_layers import dssd_network
from model_zoo.faster_rcnn_layers import Sizes as RegionSizes
from model_zoo.faster_rcnn_layers import faster_rcnn_network
from model_zoo.layers import FeatureMap
from model_zoo.layers_caffe import caffe_source, prototxt
from model_zoo.layers_tensorflow import evaluate
from model_zoo.network import Network
from model_zoo.single_shot_layers import BACKBONES, Sizes
from model_zoo.spec import Split
from model_zoo.ssd_layers import ssd_network
from runtime.errors import UsageError
from runtime.graphs import inspect
from tests.model_zoo.layers_relatives import (
    FASTER_RCNN,
    SINGLE_SHOT,
    channels_first,
    noise,
    weights_of_relative,
)

# float32 sums in another order, up to some sixty layers deep; scores are of order 10
SCORES_TOLERANCE = 2e-3

COUNTS = {
    "ssd-vgg16": (26_285_486, 6.275e10, 8_732),
    "ssd-resnet18": (15_028_192, 8.882e9, 17_000),
    "ssd-resnet50": (97_534_256, 5.670e10, 17_080),
    "ssd-resnet101": (116_526_320, 7.185e10, 17_080),
    "dssd-vgg16": (38_771_886, 7.156e10, 8_732),
    "dssd-resnet18": (21_455_072, 1.642e10, 17_000),
    "dssd-resnet50": (153_388_848, 9.261e10, 17_080),
    "dssd-resnet101": (172_380_912, 1.0776e11, 17_080),
}
NETWORKS = [make(backbone, Sizes()) for make in (ssd_network, dssd_network) for backbone in BACKBONES]

every_single_shot = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
every_relative = pytest.mark.parametrize("network", SINGLE_SHOT, ids=lambda network: network.name)


@every_single_shot
def test_parameters_flops_and_prior_boxes_are_those_of_models_md(network: Network) -> None:
    parameters, flops, boxes = COUNTS[network.name]
    last = network.layers[-1]
    assert isinstance(last, Detections)
    assert network.parameters == parameters
    assert 2 * network.macs == pytest.approx(flops, rel=2e-4)  # figures of four digits
    assert last.priors(network.maps) == boxes


def test_multiply_accumulates_are_exact_where_models_md_gives_them_so() -> None:
    assert ssd_network("vgg16", Sizes()).macs == 31_373_537_792
    assert dssd_network("resnet101", Sizes()).macs == 53_879_108_800


@pytest.mark.parametrize(
    ("network", "counts"),
    [
        (
            ssd_network("vgg16", Sizes()),
            {"Convolution": 35, "Pooling": 5, "PriorBox": 6, "ReLU": 23, "Normalize": 1, "Flatten": 13},
        ),
        (
            ssd_network("resnet18", Sizes()),
            {"BatchNorm": 23, "Scale": 23, "Convolution": 31, "Eltwise": 8, "Permute": 8, "ReLU": 19},
        ),
        (
            ssd_network("resnet101", Sizes()),
            {"BatchNorm": 144, "Convolution": 156, "Eltwise": 43, "ReLU": 130, "PriorBox": 6, "Concat": 3},
        ),
        (
            dssd_network("resnet101", Sizes()),
            {"BatchNorm": 159, "Convolution": 171, "Deconvolution": 5, "Eltwise": 48, "ReLU": 140},
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Network) else "",
)
def test_prototxts_have_the_layers_of_the_originals(network: Network, counts: dict[str, int]) -> None:
    found = Counter(layer.type for layer in read_prototxt(prototxt(network)).layer)
    assert {kind: found[kind] for kind in counts} == counts
    assert {"DetectionOutput", "Reshape", "Softmax"} <= found.keys()


def test_layers_of_ssd300_say_what_the_original_says() -> None:
    layers = _layers(ssd_network("vgg16", Sizes()))
    assert list(layers["fc6"].convolution_param.dilation) == [6]
    assert list(layers["fc6"].convolution_param.pad) == [6]
    assert list(layers["conv9_2"].convolution_param.pad) == []
    assert (layers["pool5"].pooling_param.kernel_size, layers["pool5"].pooling_param.stride) == (3, 1)
    assert list(layers["conv4_3_norm"].bottom) == ["conv4_3"]
    assert list(layers["conv4_3_norm_mbox_loc"].bottom) == ["conv4_3_norm"]
    assert list(layers["fc7_mbox_priorbox"].bottom) == ["fc7", "data"]
    boxes = layers["fc7_mbox_priorbox"].prior_box_param
    assert (list(boxes.min_size), list(boxes.max_size), list(boxes.aspect_ratio)) == ([60], [111], [2, 3])
    assert (boxes.step, boxes.offset, boxes.flip, boxes.clip) == (16, 0.5, True, False)
    answer = layers["detection_out"].detection_output_param
    assert (answer.num_classes, answer.keep_top_k, answer.nms_param.top_k) == (21, 200, 400)
    assert list(layers["detection_out"].bottom) == ["mbox_loc", "mbox_conf_flatten", "mbox_priorbox"]


def test_layers_of_dssd_bear_the_names_of_its_library() -> None:
    """So that its caffemodels fit: blocks begin with their kind, the decoder's layers end with it."""
    layers = _layers(dssd_network("resnet101", Sizes()))
    for name in (
        "res4b22_branch2b",
        "bn4b22_branch2b",
        "scale4b22_branch2b",
        "bn_conv1",
        "res9_branch1",
        "res8_relu_pre1_bn",
        "res5c_relu_pre2_scale",
        "deconv_3_pre_bn",
        "combined_3_EltwisePROD",
        "rescombined_3_EltwisePROD_relu_inter256_branch2c",
        "rescombined_3_EltwisePROD_relu_inter256_mbox_locnew",
        "resres9_relu_inter256_mbox_confnew",
    ):
        assert name in layers
    assert layers["combined_3_EltwisePROD"].eltwise_param.operation == 0  # PROD
    assert list(layers["res5a_branch2b"].convolution_param.dilation) == [2]
    assert list(layers["res6_branch1"].convolution_param.kernel_size) == [2]
    assert layers["bn2a_branch1"].batch_norm_param.eps == pytest.approx(1e-3)
    priors = layers["resres9_relu_inter256_mbox_priorbox"].prior_box_param
    assert (priors.step, priors.offset) == (321, 160.5)


def test_only_resnet_50_has_a_bias_in_its_first_convolution() -> None:
    biased = {
        name: _layers(ssd_network(name, Sizes()))["conv1"].convolution_param.bias_term
        for name in ("resnet18", "resnet50", "resnet101")
    }
    assert biased == {"resnet18": False, "resnet50": True, "resnet101": False}


def test_centred_boxes_begin_at_the_published_pixel_and_change_nothing_else() -> None:
    published, centred = (ssd_network("resnet101", Sizes(centred=which)) for which in (False, True))
    layers = [_layers(network) for network in (published, centred)]
    boxes = [
        [layer.prior_box_param for layer in found.values() if layer.type == "PriorBox"] for found in layers
    ]
    offsets = [[each.offset * each.step for each in found] for found in boxes]
    np.testing.assert_allclose(offsets[1], [2.5, 2.5, 10.5, 26.5, 90.5, 160.5], rtol=1e-6)
    assert offsets[0][-1] == 321 * 160.5
    assert published.tensors() == centred.tensors()
    assert published.statistics == centred.statistics


@every_relative
def test_a_relative_exports_like_opencv_runs_it(network: Network, tmp_path: Path) -> None:
    source = caffe_source(network, weights_of_relative(network))
    feed = {"data": channels_first(noise(network))}
    report = export(source, tmp_path / "model.onnx", [feed])
    facts = inspect(tmp_path / "model.onnx")
    assert source.parameters == network.parameters
    assert facts.macs == network.macs
    assert report.parity.outputs[0].unmatched == report.parity.outputs[0].moved == 0
    found = SINGLE_SHOT_TASK.read(source.run(feed), 2)
    assert max(len(image.scores) for image in found) > 10


@every_relative
def test_tensorflow_stands_in_for_opencv_up_to_the_heads(network: Network) -> None:
    """Statistics are measured with the one, and the network runs in the other."""
    weights, images = weights_of_relative(network), noise(network)
    raw = caffe_source(network, weights)
    assert isinstance(raw, CaffeSource)
    raw = raw.without_post_processing()
    answers = raw.run({"data": channels_first(images)})
    last = network.layers[-1]
    assert isinstance(last, Detections)
    offsets = [
        np.asarray(evaluate(network, images, weights, source.offsets)).reshape(2, -1)
        for source in last.sources
    ]
    expected = np.concatenate(offsets, axis=1)
    np.testing.assert_allclose(answers["mbox_loc"], expected, atol=SCORES_TOLERANCE)
    assert expected.std() > 100 * SCORES_TOLERANCE


@pytest.mark.parametrize(
    ("size", "flops"), [((600, 800), 3.750e11), ((600, 1000), 4.511e11), ((600, 600), 2.996e11)]
)
def test_faster_rcnn_counts_as_in_models_md_at_every_size(size: tuple[int, int], flops: float) -> None:
    network = faster_rcnn_network(RegionSizes(input_size=size))
    assert network.parameters == 137_078_239
    assert 2 * network.macs == pytest.approx(flops, rel=2e-4)  # figures of four digits


def test_pools_of_faster_rcnn_round_up() -> None:
    network = faster_rcnn_network(RegionSizes())
    assert network.maps["relu5_3"] == FeatureMap(512, 38, 50)
    assert network.maps["roi_pool5"] == FeatureMap(512, 7, 7, regions=300)


def test_layers_of_faster_rcnn_are_those_of_the_original() -> None:
    layers = _layers(faster_rcnn_network(RegionSizes()))
    counts = Counter(layer.type for layer in layers.values())
    expected = {
        "Convolution": 16,
        "Dropout": 2,
        "InnerProduct": 4,
        "Pooling": 4,
        "Python": 1,
        "ROIPooling": 1,
    }
    assert {kind: counts[kind] for kind in expected} == expected
    assert list(layers["proposal"].bottom) == ["rpn_cls_prob_reshape", "rpn_bbox_pred", "im_info"]
    assert list(layers["roi_pool5"].bottom) == ["conv5_3", "rois"]
    assert list(layers["rpn_cls_score_reshape"].reshape_param.shape.dim) == [0, 2, -1, 0]
    assert list(layers["rpn_cls_prob_reshape"].reshape_param.shape.dim) == [0, 18, -1, 0]
    assert layers["roi_pool5"].roi_pooling_param.spatial_scale == 0.0625


def test_a_small_faster_rcnn_exports_like_opencv_runs_it(tmp_path: Path) -> None:
    """Its proposals come from NumPy there (exporters.caffe.oracle_layers)."""
    source = caffe_source(FASTER_RCNN, weights_of_relative(FASTER_RCNN))
    height, width = FASTER_RCNN.input_size
    info = np.array([[height, width, 1.5], [height - 20, width - 50, 1.0]], np.float32)
    feed = {"data": channels_first(noise(FASTER_RCNN)), "im_info": info}
    report = export(source, tmp_path / "model.onnx", [feed])
    assert [output.name for output in report.parity.outputs] == ["rois", "bbox_pred", "cls_prob"]
    assert all(output.relative < 1e-5 for output in report.parity.outputs)
    assert inspect(tmp_path / "model.onnx").macs == FASTER_RCNN.macs
    rois = source.run(feed)["rois"]
    assert set(rois[:, 0]) == {0, 1}
    assert rois[rois[:, 0] == 1, 1:].max(axis=0).tolist() <= [width - 51, height - 21] * 2


@pytest.mark.parametrize("name", ["ssd", "dssd"])
def test_feeds_are_warped_photographs(name: str) -> None:
    variant = get_variant(get_model(name), "vgg16")
    feed = next(variant.feeds("caffe").batches(2, Split.EVALUATION))
    assert feed["data"].shape == (2, 3, 300, 300)
    assert -123 <= feed["data"].min() < -50
    assert 80 < feed["data"].max() <= 151


def test_feeds_of_faster_rcnn_tell_where_the_image_ends() -> None:
    """Real photographs are 512 pixels square for the most part: 600x600, and nothing to the right of that."""
    feeds = get_variant(get_model("faster-rcnn"), "").feeds("caffe")
    for feed in (next(feeds.batches(4, split)) for split in Split):
        for image, (height, width, scale) in zip(feed["data"], feed["im_info"], strict=True):
            assert height == 600 or width == 800
            assert not image[:, int(height) :].any()
            assert not image[:, :, int(width) :].any()
            assert image[:, int(height) - 1].any()
            assert scale > 0.3


def test_faster_rcnn_takes_images_of_any_size() -> None:
    spec = get_model("faster-rcnn")
    wide = get_variant(spec, "320x640")
    assert wide.description.startswith("Faster R-CNN on VGG-16, 320x640")
    assert next(wide.feeds("caffe").batches(1, Split.EVALUATION))["data"].shape == (1, 3, 320, 640)
    with pytest.raises(UsageError, match=r"variant of faster-rcnn '320by640': valid: \"\", HEIGHTxWIDTH"):
        get_variant(spec, "320by640")
    with pytest.raises(UsageError, match="variant of ssd '320x640'"):
        get_variant(get_model("ssd"), "320x640")


def test_the_reference_of_a_detector_is_the_papers_backbone() -> None:
    ssd, dssd = get_model("ssd"), get_model("dssd")
    assert get_variant(ssd, "") is get_variant(ssd, "vgg16")
    assert get_variant(dssd, "") is get_variant(dssd, "resnet101")


def _layers(network: Network) -> dict[str, LayerParameter]:
    return {layer.name: layer for layer in read_prototxt(prototxt(network)).layer}
