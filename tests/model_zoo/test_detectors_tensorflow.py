"""SSD in TensorFlow.

Oracles: MODELS.md 6.3 and 8; OpenCV running the same network in Caffe, post-processing included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from exporters.export import export
from exporters.rows import compare_rows
from model_zoo.catalog import get_model, get_variant
from model_zoo.detection import Found, single_shot
from model_zoo.detection_layers import KEPT, ListedDetections
from model_zoo.layers import Normalize
from model_zoo.layers_caffe import caffe_source
from model_zoo.layers_tensorflow import tensorflow_source
from model_zoo.layers_weights import weights_of
from model_zoo.network import Network
from model_zoo.single_shot_layers import BACKBONES, Sizes
from model_zoo.spec import Split
from model_zoo.ssd_layers import ssd_network
from runtime.graphs import inspect, load
from runtime.tensors import Array, TensorSpec
from tests.model_zoo.layers_relatives import (
    SINGLE_SHOT_TENSORFLOW,
    channels_first,
    noise,
    weights_of_relative,
)

# float32 sums in another order, up to some sixty layers deep, behind a softmax
TOLERANCE = 1e-3

IN_ALL_CELLS = 1  # an image without large fields of one colour, whose boxes all have the same score

every_relative = pytest.mark.parametrize("network", SINGLE_SHOT_TENSORFLOW, ids=lambda network: network.name)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_counts_and_boxes_are_as_many_as_in_caffe(backbone: str) -> None:
    ours, caffe = (ssd_network(backbone, Sizes(tensorflow=which)) for which in (True, False))
    assert (ours.parameters, ours.macs) == (caffe.parameters, caffe.macs)
    assert ours.maps["detection_out"].regions == 20 * 200
    assert ours.input_name == "images"


def test_multiply_accumulates_and_parameters_of_ssd300_are_those_of_models_md() -> None:
    network = ssd_network("vgg16", Sizes(tensorflow=True))
    assert (network.parameters, network.macs) == (26_285_486, 31_373_537_792)


def test_boxes_on_vgg16_are_those_of_the_coco_scales_and_on_resnets_those_of_caffe() -> None:
    sizes = [
        (source.boxes.min_size, source.boxes.max_size)
        for source in detections_of(ssd_network("vgg16", Sizes(tensorflow=True))).sources
    ]
    assert sizes == [(21, 45), (45, 99), (99, 153), (153, 207), (207, 261), (261, 315)]
    ours, caffe = (ssd_network("resnet101", Sizes(tensorflow=which)) for which in (True, False))
    assert detections_of(ours).sources == caffe.layers[-1].sources  # type: ignore[attr-defined]


def test_the_least_sum_of_squares_is_that_of_tensorflow() -> None:
    (norm,) = (
        layer for layer in ssd_network("vgg16", Sizes(tensorflow=True)).layers if isinstance(layer, Normalize)
    )
    assert norm.clamped


@every_relative
def test_a_relative_exports_like_tensorflow_runs_it(network: Network, tmp_path: Path) -> None:
    source = tensorflow_source(network, weights_of_relative(network))
    report = export(source, tmp_path / "model.onnx", [{"images": noise(network, 1, IN_ALL_CELLS)}])
    assert [output.name for output in report.parity.outputs] == ["scores", "boxes"]
    assert all(output.unmatched == output.moved == 0 for output in report.parity.outputs)
    assert source.parameters == network.parameters
    facts = inspect(tmp_path / "model.onnx")
    assert facts.macs == network.macs
    assert facts.outputs == (
        TensorSpec("scores", "float32", ("batch", 20, KEPT)),
        TensorSpec("boxes", "float32", ("batch", 20, KEPT, 4)),
    )


def test_the_graph_has_one_suppression_and_no_loop(tmp_path: Path) -> None:
    network = SINGLE_SHOT_TENSORFLOW[0]
    source = tensorflow_source(network, weights_of_relative(network))
    export(source, tmp_path / "model.onnx", [{"images": noise(network, seed=IN_ALL_CELLS)}])
    found = [node.op_type for node in load(tmp_path / "model.onnx").graph.all_nodes()]
    assert found.count("NonMaxSuppression") == 1
    assert not {"Loop", "If", "Scan", "NonZero", "Shape", "Range"} & set(found)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_the_best_of_all_classes_are_those_that_opencv_finds_in_caffe(backbone: str) -> None:
    """Where the boxes are the same. Caffe chooses the best 200 of what our lists hold."""
    ours, caffe = (ssd_network(backbone, Sizes(narrower=16, tensorflow=which)) for which in (True, False))
    weights = weights_of_relative(caffe)
    images = noise(caffe, seed=IN_ALL_CELLS)
    listed = tensorflow_source(ours, in_rgb_order(ours, weights)).run({"images": images[..., ::-1]})
    rows = caffe_source(caffe, weights).run({"data": channels_first(images)})
    for found, expected in zip(single_shot(listed, 2), single_shot(rows, 2), strict=True):
        best = found.at(np.argsort(-found.scores, kind="stable")[: len(expected.scores)])
        parity = compare_rows(as_rows(expected), as_rows(best), TOLERANCE)
        assert parity.unmatched <= 0.02 * parity.rows  # thresholds
        assert parity.rows > 10


def test_lists_fall_by_score_end_in_zeros_and_hold_nothing_below_the_threshold() -> None:
    network = SINGLE_SHOT_TENSORFLOW[1]
    source = tensorflow_source(network, weights_of_relative(network))
    answer = source.run({"images": noise(network, seed=IN_ALL_CELLS)})
    scores, boxes = answer["scores"], answer["boxes"]
    assert (np.diff(scores, axis=-1) <= 0).all()
    assert scores[scores > 0].min() >= 0.01
    assert not boxes[scores == 0].any()
    assert (boxes[scores > 0][:, 2:] > boxes[scores > 0][:, :2]).all()


def test_seeded_weights_are_those_of_caffe_but_for_the_order_of_colours() -> None:
    ours, caffe = (weights_of(ssd_network("vgg16", Sizes(tensorflow=which)), None) for which in (True, False))
    assert ours.keys() == caffe.keys()
    np.testing.assert_array_equal(ours["conv1_1/kernel"], caffe["conv1_1/kernel"][:, :, ::-1])
    for name in ours.keys() - {"conv1_1/kernel"}:
        np.testing.assert_array_equal(ours[name], caffe[name])


def test_feeds_are_those_of_caffe_in_rgb() -> None:
    variant = get_variant(get_model("ssd"), "")
    assert list(variant.build) == ["caffe", "tensorflow"]
    ours = next(variant.feeds("tensorflow").batches(2, Split.EVALUATION))["images"]
    caffe = next(variant.feeds("caffe").batches(2, Split.EVALUATION))["data"]
    assert ours.shape == (2, 300, 300, 3)
    np.testing.assert_array_equal(channels_first(ours[..., ::-1]), caffe)


def test_variants_bear_the_names_of_caffes() -> None:
    spec = get_model("ssd")
    builds = [list(variant.build) for name, variant in spec.variants.items() if name != "garments"]
    assert all(build == ["caffe", "tensorflow"] for build in builds)
    assert set(get_model("dssd").variants["vgg16"].build) == {"caffe"}


def detections_of(network: Network) -> ListedDetections:
    (found,) = (layer for layer in network.layers if isinstance(layer, ListedDetections))
    return found


def in_rgb_order(network: Network, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Weights that were made for BGR, for a network that takes RGB."""
    (first,) = (layer.name for layer in network.layers if layer.bottoms == (network.input_name,))
    kernel = f"{first}/kernel"
    return {**weights, kernel: np.ascontiguousarray(weights[kernel][:, :, ::-1])}


def as_rows(found: Found) -> Array:
    """Label, score and corners, by falling score."""
    order = np.argsort(-found.scores, kind="stable")
    columns = [found.labels[order, np.newaxis], found.scores[order, np.newaxis], found.corners[order]]
    return np.concatenate(columns, axis=1).astype(np.float32)
